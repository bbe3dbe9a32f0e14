resource "aws_ecr_repository" "node" {
  #checkov:skip=CKV_AWS_51:The job definition refers to a moving tag so that a deploy needs no Terraform; each image also keeps a tag of its source's hash.
  #checkov:skip=CKV_AWS_136:Encrypted by the service; an own key costs 1 USD a month and is the option kms_key_arn.
  for_each = var.nodes

  name                 = "${var.name}/${each.key}"
  image_tag_mutability = "MUTABLE"
  force_delete         = !var.keep_artifacts

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = var.kms_key_arn == null ? "AES256" : "KMS"
    kms_key         = var.kms_key_arn
  }
}

# How many images are kept is told to each repository by `node deploy`: here it would be one more resource of every node.
removed {
  from = aws_ecr_lifecycle_policy.node

  lifecycle {
    destroy = false
  }
}

# Not again where the code itself ended, unless it asks for that (75). Everything else is: what meets no rule is repeated, so a
# container that never started is, whatever the service calls that, and so is one that AWS took away. An exit code of `*` would
# not do: nothing says that it leaves out the start that failed and has none. Batch never repeats a job that ran out of its time
# or was cancelled. Five rules at most. Source: docs.aws.amazon.com/batch/latest/userguide/job_retries.html.
locals {
  retries = [
    { action = "RETRY", exit_code = "75", status_reason = null },
    { action = "RETRY", exit_code = null, status_reason = "Your Spot Task was interrupted*" },
    { action = "RETRY", exit_code = null, status_reason = "Host EC2*" },
    { action = "EXIT", exit_code = null, status_reason = "Essential container in task exited*" },
  ]
}

resource "aws_batch_job_definition" "node" {
  for_each = var.nodes

  name                  = "${var.name}-${each.key}"
  type                  = "container"
  platform_capabilities = [local.kind[each.key] == "fargate" ? "FARGATE" : "EC2"]
  propagate_tags        = true

  container_properties = jsonencode(merge(
    {
      image            = "${aws_ecr_repository.node[each.key].repository_url}:${var.image_tag}"
      jobRoleArn       = aws_iam_role.node[each.key].arn
      executionRoleArn = aws_iam_role.execution.arn

      resourceRequirements = concat(
        [
          { type = "VCPU", value = tostring(each.value.cpu) },
          { type = "MEMORY", value = tostring(each.value.memory_mib) },
        ],
        each.value.gpu > 0 ? [{ type = "GPU", value = tostring(each.value.gpu) }] : []
      )

      environment = [
        for name, value in merge(
          {
            # Fargate sets it; the agent of EC2 hosts does so in its latest releases only (github.com/aws/amazon-ecs-agent/pull/4946).
            AWS_REGION              = var.region
            MODEL_ID                = each.value.model_id
            NUMERAI_ARTIFACTS       = "s3://${aws_s3_bucket.artifacts.bucket}/${each.key}"
            NUMERAI_CPU             = tostring(each.value.cpu)
            NUMERAI_NODE            = each.key
            NUMERAI_TIMEOUT_MINUTES = tostring(each.value.timeout_minutes)
            NUMERAI_TOURNAMENT      = tostring(each.value.tournament)
          },
          each.value.retrain_days == null ? {} : { NUMERAI_RETRAIN_DAYS = tostring(each.value.retrain_days) },
          each.value.data_version == null ? {} : { NUMERAI_DATA_VERSION = each.value.data_version },
          var.numerai_api_url == null ? {} : { NUMERAI_API_URL = var.numerai_api_url }
        ) : { name = name, value = value }
      ]

      secrets = [
        for name, arn in local.keys : { name = name, valueFrom = arn }
      ]

      linuxParameters = { initProcessEnabled = true }

      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.runs.name
          awslogs-region        = var.region
          awslogs-stream-prefix = each.key
          # A run must not stand still while CloudWatch does. What is beyond the buffer is lost, so it is larger than the default of 10 MB.
          # Source: docs.aws.amazon.com/AmazonECS/latest/developerguide/specify-log-config.html.
          max-buffer-size = "25m"
          mode            = "non-blocking"
        }
      }
    },
    local.kind[each.key] != "fargate" ? {} : {
      fargatePlatformConfiguration = { platformVersion = "LATEST" }
      networkConfiguration         = { assignPublicIp = "ENABLED" }
      runtimePlatform              = { cpuArchitecture = local.cpu_architecture, operatingSystemFamily = "LINUX" }
    },
    local.kind[each.key] == "fargate" && each.value.disk_gib > 20 ? {
      ephemeralStorage = { sizeInGiB = each.value.disk_gib }
    } : {}
  ))

  timeout {
    attempt_duration_seconds = each.value.timeout_minutes * 60
  }

  retry_strategy {
    attempts = 3

    dynamic "evaluate_on_exit" {
      for_each = local.retries

      content {
        action           = evaluate_on_exit.value.action
        on_exit_code     = evaluate_on_exit.value.exit_code
        on_status_reason = evaluate_on_exit.value.status_reason
      }
    }
  }
}

resource "aws_cloudwatch_log_group" "runs" {
  #checkov:skip=CKV_AWS_338:How long logs are kept is the owner's choice, log_retention_days; storage is billed by the month.
  #checkov:skip=CKV_AWS_158:Encrypted by the service; an own key costs 1 USD a month and is the option kms_key_arn.
  name              = "/numerai/${var.name}/runs"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}
