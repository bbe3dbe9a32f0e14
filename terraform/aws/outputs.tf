output "account" {
  description = "The AWS account of the cluster."
  value       = local.account
}

output "region" {
  description = "The AWS region of the cluster."
  value       = var.region
}

output "webhook_base_url" {
  description = "Where the webhooks live: a node's address is this, its name, a slash and its token."
  value       = aws_lambda_function_url.webhook.function_url
}

output "webhook_function" {
  description = "Name of the webhook's Lambda function."
  value       = aws_lambda_function.webhook.function_name
}

output "webhook_table" {
  description = "Name of the table that holds which trigger started which run."
  value       = aws_dynamodb_table.webhook.name
}

output "webhook_log_group" {
  description = "Where the webhook logs its calls."
  value       = aws_cloudwatch_log_group.webhook.name
}

output "watcher_function" {
  description = "Name of the watcher's Lambda function; null without it."
  value       = var.watcher ? aws_lambda_function.watcher["this"].function_name : null
}

output "watcher_log_group" {
  description = "Where the watcher logs what it finds; null without it."
  value       = var.watcher ? aws_cloudwatch_log_group.watcher["this"].name : null
}

output "run_log_group" {
  description = "Where runs log; the name of a run's stream begins with its node's name."
  value       = aws_cloudwatch_log_group.runs.name
}

output "keys_path" {
  description = "What the names of the parameters begin with that the CLI puts the Numerai keys in."
  value       = local.keys_path
}

output "artifacts_bucket" {
  description = "Bucket of the trained models, one folder for each node."
  value       = aws_s3_bucket.artifacts.bucket
}

output "failures_topic_arn" {
  description = "Topic that failed runs and alarms are reported to."
  value       = aws_sns_topic.failures.arn
}

output "queues" {
  description = "The Batch queues: fargate, and ec2 and gpu where a node needs them; with `-now` those over On-Demand capacity only."
  value = merge(
    { for kind, queue in aws_batch_job_queue.this : kind => queue.arn },
    { for kind, queue in aws_batch_job_queue.now : "${kind}-now" => queue.arn }
  )
}

output "nodes" {
  description = "What each node consists of."
  value = {
    for name, node in var.nodes : name => {
      kind           = local.kind[name]
      repository_url = aws_ecr_repository.node[name].repository_url
      repository     = aws_ecr_repository.node[name].name
      image_tag      = var.image_tag
      job_definition = aws_batch_job_definition.node[name].name
      job_queue      = aws_batch_job_queue.this[local.kind[name]].arn
      job_queue_now  = aws_batch_job_queue.now[local.kind[name]].arn
      artifacts      = "s3://${aws_s3_bucket.artifacts.bucket}/${name}"
      schedule       = try(aws_scheduler_schedule.node[name].name, null)
    }
  }
}
