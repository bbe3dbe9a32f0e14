locals {
  watcher_name = "${var.name}-watcher"
  watcher      = var.watcher ? { this = true } : {}
}

resource "aws_lambda_function" "watcher" {
  #checkov:skip=CKV_AWS_115:Only the schedule calls it, every five minutes; calls at once are safe, and a small account cannot reserve any.
  #checkov:skip=CKV_AWS_116:The next call of the schedule does what a lost one did not, and the alarm on its errors tells.
  #checkov:skip=CKV_AWS_117:It needs nothing inside the VPC, and in it would need endpoints at 7 USD a month each.
  #checkov:skip=CKV_AWS_50:Tracing needs a role with write access to every resource; one JSON line a finding says as much.
  #checkov:skip=CKV_AWS_173:The variables hold names and a number, no secret: the keys are read from the Parameter Store at run time.
  #checkov:skip=CKV_AWS_272:The package is made of files of this tree, built by the owner's own machine, and its hash is in the state.
  for_each = local.watcher

  function_name = local.watcher_name
  description   = "Asks Numerai for each node's submission and starts the run that did not come"
  role          = aws_iam_role.watcher[each.key].arn
  runtime       = "python3.13"
  architectures = ["arm64"]
  handler       = "handler.handle"
  memory_size   = 256
  timeout       = 300

  filename         = var.watcher_package_path
  source_code_hash = var.watcher_package_sha256
  kms_key_arn      = var.kms_key_arn

  environment {
    variables = {
      TABLE           = aws_dynamodb_table.webhook.name
      KEYS_PATH       = local.keys_path
      TOPIC           = aws_sns_topic.failures.arn
      GRACE_MINUTES   = tostring(var.watcher_grace_minutes)
      NUMERAI_API_URL = coalesce(var.numerai_api_url, "https://api-tournament.numer.ai")
    }
  }

  depends_on = [
    aws_cloudwatch_log_group.watcher,
    aws_dynamodb_table_item.nodes,
    aws_iam_role_policy.watcher,
  ]
}

# All week: when the windows are is Numerai's to say, and differs from round to round. A call outside them asks one question
# a tournament and ends.
resource "aws_cloudwatch_event_rule" "watcher" {
  for_each = local.watcher

  name                = local.watcher_name
  description         = "Wakes the watcher"
  schedule_expression = "rate(5 minutes)"
}

resource "aws_cloudwatch_event_target" "watcher" {
  for_each = aws_cloudwatch_event_rule.watcher

  rule      = each.value.name
  target_id = "watcher"
  arn       = aws_lambda_function.watcher[each.key].arn

  # A call that comes an hour late helps nobody; the next one does the same.
  retry_policy {
    maximum_event_age_in_seconds = 300
    maximum_retry_attempts       = 3
  }
}

resource "aws_lambda_permission" "watcher" {
  for_each = aws_lambda_function.watcher

  statement_id  = "TheScheduleCalls"
  function_name = each.value.function_name
  action        = "lambda:InvokeFunction"
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.watcher[each.key].arn
}

resource "aws_cloudwatch_log_group" "watcher" {
  #checkov:skip=CKV_AWS_338:How long logs are kept is the owner's choice, log_retention_days; storage is billed by the month.
  #checkov:skip=CKV_AWS_158:Encrypted by the service; an own key costs 1 USD a month and is the option kms_key_arn.
  for_each = local.watcher

  name              = "/aws/lambda/${local.watcher_name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}
