# The original carries a zip of its own; this one is packed by the test.
resource "aws_lambda_function" "submission" {
  for_each         = var.nodes
  function_name    = each.key
  filename         = "${path.module}/main.zip"
  source_code_hash = filebase64sha256("${path.module}/main.zip")
  role             = aws_iam_role.iam_for_lambda.arn
  handler          = "main.lambda_handler"
  runtime          = "python3.11"

  environment {
    variables = {
      JOB_DEFINITION = aws_batch_job_definition.node[each.key].name
      JOB_QUEUE      = aws_batch_job_queue.node.name
    }
  }
}

resource "aws_lambda_function_url" "submission" {
  for_each           = var.nodes
  function_name      = aws_lambda_function.submission[each.key].function_name
  authorization_type = "NONE"
}

resource "aws_cloudwatch_log_group" "lambda" {
  for_each          = var.nodes
  name              = "/aws/lambda/${each.key}"
  retention_in_days = 14
}

resource "aws_cloudwatch_event_rule" "cron_trigger" {
  for_each            = local.scheduled
  name                = "${each.key}-cron-trigger"
  schedule_expression = "cron(${each.value})"
}

resource "aws_cloudwatch_event_target" "cron_target" {
  for_each = local.scheduled
  rule     = aws_cloudwatch_event_rule.cron_trigger[each.key].name
  arn      = aws_lambda_function.submission[each.key].arn
}

resource "aws_lambda_permission" "cron_permission" {
  for_each      = local.scheduled
  statement_id  = "AllowExecutionFromCloudWatch"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.submission[each.key].function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.cron_trigger[each.key].arn
}

resource "aws_iam_role" "iam_for_lambda" {
  name               = "${local.prefix}-lambda"
  assume_role_policy = local.trusts["lambda"]
}

resource "aws_iam_policy" "lambda_logging" {
  name = "${local.prefix}-lambda-logging"
  path = "/"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "arn:aws:logs:*:*:*"
      },
      {
        Effect   = "Allow"
        Action   = "batch:SubmitJob"
        Resource = "*"
      },
    ]
  })
}

resource "aws_iam_role_policy_attachment" "lambda_logs" {
  role       = aws_iam_role.iam_for_lambda.name
  policy_arn = aws_iam_policy.lambda_logging.arn
}
