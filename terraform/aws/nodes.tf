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

# An image that a rule selects is out of reach of the rules after it, so the first one protects what runs now, even after
# a rollback to an old image.
resource "aws_ecr_lifecycle_policy" "node" {
  for_each = var.nodes

  repository = aws_ecr_repository.node[each.key].name
  policy = jsonencode({
    rules = [
      {
        rulePriority = 1
        description  = "Keep the image that runs"
        selection    = { tagStatus = "tagged", tagPrefixList = [var.image_tag], countType = "imageCountMoreThan", countNumber = 1 }
        action       = { type = "expire" }
      },
      {
        rulePriority = 2
        description  = "Keep the latest images for a rollback"
        selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 5 }
        action       = { type = "expire" }
      },
    ]
  })
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
      jobRoleArn       = aws_iam_role.run.arn
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
            MODEL_ID           = each.value.model_id
            NUMERAI_ARTIFACTS  = "s3://${aws_s3_bucket.artifacts.bucket}/${each.key}"
            NUMERAI_CPU        = tostring(each.value.cpu)
            NUMERAI_NODE       = each.key
            NUMERAI_TOURNAMENT = tostring(each.value.tournament)
          },
          each.value.data_version == null ? {} : { NUMERAI_DATA_VERSION = each.value.data_version },
          var.numerai_api_url == null ? {} : { NUMERAI_API_URL = var.numerai_api_url }
        ) : { name = name, value = value }
      ]

      secrets = [
        for name in ["NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY", "NUMERAI_NOTIFY"] :
        { name = name, valueFrom = "${aws_secretsmanager_secret.numerai_keys.arn}:${name}::" }
      ]

      linuxParameters = { initProcessEnabled = true }

      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.runs.name
          awslogs-region        = var.region
          awslogs-stream-prefix = each.key
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

  # Again only where that can help: the node says so (75), the host was taken away, or the container never started.
  # Batch never repeats a job that ran out of its time.
  retry_strategy {
    attempts = 3

    evaluate_on_exit {
      action       = "RETRY"
      on_exit_code = "75"
    }

    evaluate_on_exit {
      action           = "RETRY"
      on_status_reason = "Your Spot Task was interrupted*"
    }

    evaluate_on_exit {
      action           = "RETRY"
      on_status_reason = "Host EC2*"
    }

    evaluate_on_exit {
      action    = "RETRY"
      on_reason = "ResourceInitializationError*"
    }

    evaluate_on_exit {
      action    = "EXIT"
      on_reason = "*"
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
