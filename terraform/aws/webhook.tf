locals {
  webhook_name = "${var.name}-webhook"
}

resource "aws_lambda_function" "webhook" {
  #checkov:skip=CKV_AWS_116:A dead-letter queue is for asynchronous calls; this one answers its caller, who repeats the call.
  #checkov:skip=CKV_AWS_117:It needs nothing inside the VPC, and in it would need endpoints at 7 USD a month each to reach Batch.
  #checkov:skip=CKV_AWS_50:Tracing needs a role with write access to every resource; one JSON line a call says as much.
  #checkov:skip=CKV_AWS_173:The variables hold the names of a table and a limit, no secret.
  #checkov:skip=CKV_AWS_272:The package is made of files of this tree, built by the owner's own machine, and its hash is in the state.
  function_name = local.webhook_name
  description   = "Turns a call of Numerai into one Batch job"
  role          = aws_iam_role.webhook.arn
  runtime       = "python3.13"
  architectures = ["arm64"]
  handler       = "handler.handle"
  memory_size   = 1024 # CPU comes with memory, and Numerai waits for a cold start; the few calls of a month cost nothing
  timeout       = 45

  filename         = var.webhook_package_path
  source_code_hash = var.webhook_package_sha256

  reserved_concurrent_executions = var.webhook_concurrency
  kms_key_arn                    = var.kms_key_arn

  environment {
    variables = {
      TABLE         = aws_dynamodb_table.webhook.name
      RUNS_PER_HOUR = tostring(var.webhook_runs_per_hour)
    }
  }

  depends_on = [aws_cloudwatch_log_group.webhook, aws_iam_role_policy.webhook]
}

resource "aws_lambda_function_url" "webhook" {
  #checkov:skip=CKV_AWS_258:Numerai cannot sign its calls. The handler demands a 256-bit random token in the path and compares it in constant time.
  function_name      = aws_lambda_function.webhook.function_name
  authorization_type = "NONE"
}

resource "aws_lambda_permission" "url" {
  #checkov:skip=CKV_AWS_301:Public by purpose: Numerai cannot sign its calls, the handler checks a 256-bit token.
  statement_id           = "NumeraiCallsTheUrl"
  function_name          = aws_lambda_function.webhook.function_name
  action                 = "lambda:InvokeFunctionUrl"
  principal              = "*"
  function_url_auth_type = "NONE"
}

# A function URL needs a second permission, lambda:InvokeFunction (since October 2025). The CLI puts it, narrowed to calls
# through the URL: the argument for that came with version 6.29 of the provider, and without it anybody could call the
# function directly (cli/providers/aws/url_permission.py).

resource "aws_cloudwatch_log_group" "webhook" {
  #checkov:skip=CKV_AWS_338:How long logs are kept is the owner's choice, log_retention_days; storage is billed by the month.
  #checkov:skip=CKV_AWS_158:Encrypted by the service; an own key costs 1 USD a month and is the option kms_key_arn.
  name              = "/aws/lambda/${local.webhook_name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

# What webhook and watcher have to remember: which trigger id started which run, who may call, and what was told. Billed
# per request only.
resource "aws_dynamodb_table" "webhook" {
  #checkov:skip=CKV_AWS_119:Encrypted by the service; an own key costs 1 USD a month and is the option kms_key_arn.
  name         = local.webhook_name
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "pk"

  attribute {
    name = "pk"
    type = "S"
  }

  ttl {
    attribute_name = "expires_at"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = var.kms_key_arn != null
    kms_key_arn = var.kms_key_arn
  }
}

# All nodes in one item, so that a further node adds no resource and does not change a function.
resource "aws_dynamodb_table_item" "nodes" {
  table_name = aws_dynamodb_table.webhook.name
  hash_key   = aws_dynamodb_table.webhook.hash_key

  item = jsonencode({
    pk = { S = "nodes" }
    nodes = {
      S = jsonencode({
        for name, node in var.nodes : name => {
          model_id       = node.model_id
          tournament     = node.tournament
          since          = node.since
          cron           = node.cron
          moving         = node.moving
          token_sha256   = node.token_sha256
          job_queue      = aws_batch_job_queue.this[local.kind[name]].arn
          job_queue_now  = aws_batch_job_queue.now[local.kind[name]].arn
          job_definition = aws_batch_job_definition.node[name].name
        }
      })
    }
  })
}
