locals {
  submittable = sort(concat([for queue in aws_batch_job_queue.this : queue.arn], [for queue in aws_batch_job_queue.now : queue.arn]))

  # The definitions of this cluster only; Batch checks the name with and without its revision.
  submittable_definitions = ["${local.batch_arn}:job-definition/${var.name}-*"]

  kms_keys = var.kms_key_arn == null ? [] : [var.kms_key_arn]
}

data "aws_iam_policy_document" "trust" {
  for_each = {
    execution = "ecs-tasks.amazonaws.com"
    run       = "ecs-tasks.amazonaws.com"
    webhook   = "lambda.amazonaws.com"
    watcher   = "lambda.amazonaws.com"
    scheduler = "scheduler.amazonaws.com"
    host      = "ec2.amazonaws.com"
    flow      = "vpc-flow-logs.amazonaws.com"
  }

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = [each.value]
    }

    # Only on behalf of this account, where the service is documented to say on whose behalf it asks.
    dynamic "condition" {
      for_each = contains(["run", "scheduler", "flow"], each.key) ? [local.account] : []

      content {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [condition.value]
      }
    }
  }
}

# Starts a run: pulls the image, hands over the keys, writes the log. The user's code never has this role.
resource "aws_iam_role" "execution" {
  name                 = "${var.name}-execution"
  description          = "Starts the containers of prediction runs"
  assume_role_policy   = data.aws_iam_policy_document.trust["execution"].json
  permissions_boundary = var.permissions_boundary
}

resource "aws_iam_role_policy" "execution" {
  name   = "start-runs"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}

data "aws_iam_policy_document" "execution" {
  #checkov:skip=CKV_AWS_356:ecr:GetAuthorizationToken knows no resource; it reads.
  statement {
    sid       = "LogIn"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "Pull"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = ["arn:${local.partition}:ecr:${var.region}:${local.account}:repository/${var.name}/*"]
  }

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.runs.arn}:log-stream:*"]
  }

  statement {
    sid       = "HandOverKeys"
    actions   = ["ssm:GetParameters"]
    resources = values(local.keys)
  }

  dynamic "statement" {
    for_each = local.kms_keys

    content {
      sid       = "Decrypt"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
    }
  }
}

# What a node's code may do in AWS: read and write its own trained models, and no other node's. The policy is a part of the role,
# although the provider would rather have it apart, so that a node is three resources and gets its role and its rights at once.
resource "aws_iam_role" "node" {
  for_each = var.nodes

  name                 = "${var.name}-run-${each.key}"
  description          = "Held by the code of the node ${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.trust["run"].json
  permissions_boundary = var.permissions_boundary

  inline_policy {
    name   = "artifacts"
    policy = data.aws_iam_policy_document.node[each.key].json
  }
}

data "aws_iam_policy_document" "node" {
  for_each = var.nodes

  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.artifacts.arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${each.key}/*"]
    }
  }

  statement {
    sid       = "ReadAndWrite"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:PutObjectTagging"]
    resources = ["${aws_s3_bucket.artifacts.arn}/${each.key}/*"]
  }

  dynamic "statement" {
    for_each = local.kms_keys

    content {
      sid       = "EncryptAndDecrypt"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role" "webhook" {
  name                 = "${var.name}-webhook"
  description          = "Submits runs when Numerai calls"
  assume_role_policy   = data.aws_iam_policy_document.trust["webhook"].json
  permissions_boundary = var.permissions_boundary
}

resource "aws_iam_role_policy" "webhook" {
  name   = "submit-runs"
  role   = aws_iam_role.webhook.id
  policy = data.aws_iam_policy_document.webhook.json
}

# What webhook and watcher both do.
data "aws_iam_policy_document" "start" {
  #checkov:skip=CKV_AWS_356:batch:ListJobs knows no resource; it reads.
  statement {
    sid       = "Remember"
    actions   = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
    resources = [aws_dynamodb_table.webhook.arn]
  }

  statement {
    sid       = "Submit"
    actions   = ["batch:SubmitJob"]
    resources = concat(local.submittable, local.submittable_definitions)
  }

  statement {
    sid       = "SeeWhatRuns"
    actions   = ["batch:ListJobs"]
    resources = ["*"]
  }
}

data "aws_iam_policy_document" "webhook" {
  source_policy_documents = [data.aws_iam_policy_document.start.json]

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.webhook.arn}:log-stream:*"]
  }

  dynamic "statement" {
    for_each = local.kms_keys

    content {
      sid       = "Decrypt"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role" "watcher" {
  for_each = local.watcher

  name                 = "${var.name}-watcher"
  description          = "Asks Numerai for submissions, starts missing runs, tells people"
  assume_role_policy   = data.aws_iam_policy_document.trust["watcher"].json
  permissions_boundary = var.permissions_boundary
}

resource "aws_iam_role_policy" "watcher" {
  for_each = aws_iam_role.watcher

  name   = "watch"
  role   = each.value.id
  policy = data.aws_iam_policy_document.watcher[each.key].json
}

data "aws_iam_policy_document" "watcher" {
  for_each = local.watcher

  source_policy_documents = [data.aws_iam_policy_document.start.json]

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.watcher[each.key].arn}:log-stream:*"]
  }

  statement {
    sid       = "AskNumerai"
    actions   = ["ssm:GetParameters"]
    resources = values(local.keys)
  }

  # A run that waits for capacity is cancelled before it is replaced: CancelJob does nothing to one that has started.
  statement {
    sid       = "CancelWhatWaits"
    actions   = ["batch:CancelJob"]
    resources = ["arn:${local.partition}:batch:${var.region}:${local.account}:job/*"]
  }

  statement {
    sid       = "Tell"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.failures.arn]
  }

  dynamic "statement" {
    for_each = local.kms_keys

    content {
      sid       = "EncryptAndDecrypt"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role" "scheduler" {
  for_each = length(local.scheduled) > 0 ? { this = true } : {}

  name                 = "${var.name}-scheduler"
  description          = "Submits runs on a schedule"
  assume_role_policy   = data.aws_iam_policy_document.trust["scheduler"].json
  permissions_boundary = var.permissions_boundary
}

resource "aws_iam_role_policy" "scheduler" {
  for_each = aws_iam_role.scheduler

  name   = "submit-runs"
  role   = each.value.id
  policy = data.aws_iam_policy_document.scheduler.json
}

data "aws_iam_policy_document" "scheduler" {
  statement {
    sid       = "Submit"
    actions   = ["batch:SubmitJob"]
    resources = concat(local.submittable, local.submittable_definitions)
  }
}

# EC2 hosts, only where a node needs more than Fargate gives.
resource "aws_iam_role" "host" {
  for_each = local.ec2_kinds

  name                 = "${var.name}-${each.key}-host"
  description          = "Lets an EC2 host join the cluster"
  assume_role_policy   = data.aws_iam_policy_document.trust["host"].json
  permissions_boundary = var.permissions_boundary
}

resource "aws_iam_role_policy_attachment" "host" {
  for_each = aws_iam_role.host

  role       = each.value.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
}

resource "aws_iam_instance_profile" "host" {
  for_each = aws_iam_role.host

  name = each.value.name
  role = each.value.name

  depends_on = [aws_iam_role_policy_attachment.host]
}

resource "aws_iam_role" "flow" {
  for_each = local.flow_logs

  name                 = "${var.name}-flow-logs"
  description          = "Writes the VPC's flow logs"
  assume_role_policy   = data.aws_iam_policy_document.trust["flow"].json
  permissions_boundary = var.permissions_boundary
}

resource "aws_iam_role_policy" "flow" {
  for_each = aws_iam_role.flow

  name   = "write-logs"
  role   = each.value.id
  policy = data.aws_iam_policy_document.flow[each.key].json
}

data "aws_iam_policy_document" "flow" {
  for_each = local.flow_logs

  statement {
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.flow[each.key].arn}:*"]
  }
}
