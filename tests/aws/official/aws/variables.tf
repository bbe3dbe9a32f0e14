variable "region" {
  description = "Where everything is made."
  type        = string
}

variable "nodes" {
  description = "The nodes by name."
  type        = any
}

locals {
  prefix    = "numerai-submission"
  scheduled = { for name, node in var.nodes : name => node.cron if lookup(node, "cron", null) != null }
  trusts = { for service in ["ecs-tasks", "ec2", "batch", "lambda"] : service => jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "${service}.amazonaws.com" }
    }]
  }) }
  managed = "arn:aws:iam::aws:policy/service-role"
}

output "outputs" {
  description = "By node, what the command line records."
  value = { for name in keys(var.nodes) : name => {
    docker_repo       = aws_ecr_repository.node[name].repository_url
    webhook_url       = aws_lambda_function_url.submission[name].function_url
    cluster_log_group = aws_cloudwatch_log_group.ec2[name].name
    webhook_log_group = aws_cloudwatch_log_group.lambda[name].name
    cluster_arn       = aws_batch_compute_environment.node.ecs_cluster_arn
  } }
}
