data "aws_availability_zones" "available" {}

resource "aws_vpc" "main" {
  cidr_block = "172.17.0.0/16"
}

resource "aws_subnet" "public" {
  count                   = 2
  vpc_id                  = aws_vpc.main.id
  cidr_block              = cidrsubnet(aws_vpc.main.cidr_block, 8, 255 - count.index)
  availability_zone       = data.aws_availability_zones.available.names[count.index]
  map_public_ip_on_launch = true
}

resource "aws_internet_gateway" "gw" {
  vpc_id = aws_vpc.main.id
}

resource "aws_route" "internet_access" {
  route_table_id         = aws_vpc.main.main_route_table_id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.gw.id
}

resource "aws_security_group" "ecs_tasks" {
  name   = "${local.prefix}-tasks-security-group"
  vpc_id = aws_vpc.main.id

  egress {
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_ecr_repository" "node" {
  for_each     = var.nodes
  name         = each.key
  force_delete = true
}

resource "aws_iam_role" "ecs_task_execution_role" {
  name               = local.prefix
  assume_role_policy = local.trusts["ecs-tasks"]
}

resource "aws_iam_role_policy_attachment" "ecs_task_execution_role" {
  role       = aws_iam_role.ecs_task_execution_role.name
  policy_arn = "${local.managed}/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_iam_role" "batch_ecs_instance_role" {
  name               = "batch_ecs_instance_role"
  assume_role_policy = local.trusts["ec2"]
}

resource "aws_iam_role_policy_attachment" "batch_ecs_instance_role" {
  role       = aws_iam_role.batch_ecs_instance_role.name
  policy_arn = "${local.managed}/AmazonEC2ContainerServiceforEC2Role"
}

resource "aws_iam_instance_profile" "batch_ecs_instance_role" {
  name = "batch_ecs_instance_role"
  role = aws_iam_role.batch_ecs_instance_role.name
}

resource "aws_iam_role" "aws_batch_service_role" {
  name               = "aws_batch_service_role"
  assume_role_policy = local.trusts["batch"]
}

resource "aws_iam_role_policy_attachment" "aws_batch_service_role" {
  role       = aws_iam_role.aws_batch_service_role.name
  policy_arn = "${local.managed}/AWSBatchServiceRole"
}

# The original looks the newest machine image up.
resource "aws_launch_template" "node" {
  image_id               = "ami-12c6146b"
  update_default_version = true
}

resource "aws_batch_compute_environment" "node" {
  compute_environment_name = "${local.prefix}-compute"
  service_role             = aws_iam_role.aws_batch_service_role.arn
  type                     = "MANAGED"
  depends_on               = [aws_iam_role_policy_attachment.aws_batch_service_role]

  compute_resources {
    type                = "EC2"
    allocation_strategy = "BEST_FIT"
    instance_type       = ["optimal"]
    instance_role       = aws_iam_instance_profile.batch_ecs_instance_role.arn
    max_vcpus           = 64
    subnets             = aws_subnet.public[*].id
    security_group_ids  = [aws_security_group.ecs_tasks.id]

    launch_template {
      launch_template_id = aws_launch_template.node.id
      version            = aws_launch_template.node.latest_version
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_batch_job_queue" "node" {
  name     = "${local.prefix}-queue"
  state    = "ENABLED"
  priority = 1

  compute_environment_order {
    order               = 1
    compute_environment = aws_batch_compute_environment.node.arn
  }
}

resource "aws_cloudwatch_log_group" "ec2" {
  for_each          = var.nodes
  name              = "/ec2/service/${each.key}"
  retention_in_days = 14
}

resource "aws_batch_job_definition" "node" {
  for_each = var.nodes
  name     = each.key
  type     = "container"

  timeout {
    attempt_duration_seconds = each.value.timeout_minutes * 60
  }

  container_properties = jsonencode({
    image            = aws_ecr_repository.node[each.key].repository_url
    executionRoleArn = aws_iam_role.ecs_task_execution_role.arn
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.ec2[each.key].name
        "awslogs-region"        = var.region
        "awslogs-stream-prefix" = "ecs"
      }
    }
    resourceRequirements = [
      { type = "VCPU", value = tostring(each.value.cpu / 1024) },
      { type = "MEMORY", value = tostring(each.value.memory) },
    ]
  })
}
