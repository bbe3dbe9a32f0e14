resource "aws_sns_topic" "failures" {
  #checkov:skip=CKV_AWS_26:EventBridge and CloudWatch cannot publish to a topic under AWS's own key; an own one is the option kms_key_arn. Messages name a node and a reason.
  name              = "${var.name}-failures"
  kms_master_key_id = var.kms_key_arn
}

resource "aws_sns_topic_subscription" "email" {
  for_each = var.notification_email == null ? {} : { this = var.notification_email }

  topic_arn = aws_sns_topic.failures.arn
  protocol  = "email"
  endpoint  = each.value
}

resource "aws_sns_topic_policy" "failures" {
  arn    = aws_sns_topic.failures.arn
  policy = data.aws_iam_policy_document.failures.json
}

data "aws_iam_policy_document" "failures" {
  statement {
    sid       = "ThisAccountsAlarms"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.failures.arn]

    principals {
      type        = "Service"
      identifiers = ["budgets.amazonaws.com", "cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }

  # Without any condition: EventBridge's requests to SNS meet none, and the message is dropped without an error. Source: "Amazon
  # SNS permissions", docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html.
  statement {
    sid       = "Rules"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.failures.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }
}

# A rule instead of an alarm on a metric: it costs nothing, and its message says which run failed and why. It includes the
# runs that only tell people something (`notice-`): when such a one fails, they have not heard it. It leaves out the tests
# that were not to submit and ended there, with exit code 79, which Batch takes for a failure. One that never started has no
# exit code, and `anything-but` matches no field that is absent. Source: "Comparison operators" and the JobDetail object,
# docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html,
# docs.aws.amazon.com/batch/latest/userguide/batch_job_events.html.
locals {
  failures = {
    status = ["FAILED"]
    "$or" = [
      { jobName = [{ "anything-but" = { prefix = "no-submit-" } }] },
      { container = { exitCode = [{ "anything-but" = [79] }, { exists = false }] } },
    ]
  }
}

resource "aws_cloudwatch_event_rule" "failed_run" {
  name        = "${var.name}-failed-run"
  description = "A run failed"
  event_pattern = jsonencode({
    source      = ["aws.batch"]
    detail-type = ["Batch Job State Change"]
    detail = merge(local.failures, {
      jobQueue = local.submittable
    })
  })
}

resource "aws_cloudwatch_event_target" "failed_run" {
  rule      = aws_cloudwatch_event_rule.failed_run.name
  target_id = "failures"
  arn       = aws_sns_topic.failures.arn

  input_transformer {
    input_paths = {
      code   = "$.detail.container.exitCode"
      name   = "$.detail.jobName"
      reason = "$.detail.statusReason"
      run    = "$.detail.jobId"
    }
    # What is not in the event leaves a blank, as the exit code of a run that never started.
    input_template = "\"Run <run> (<name>) failed: <reason>. Exit code: <code>. `numerai node logs` shows what it printed.\""
  }
}

# That a rule cannot hand its message over is seen nowhere else.
resource "aws_cloudwatch_metric_alarm" "rule" {
  for_each = {
    blocked-run = aws_cloudwatch_event_rule.blocked_run.name
    failed-run  = aws_cloudwatch_event_rule.failed_run.name
  }

  alarm_name          = "${each.value}-invocations"
  alarm_description   = "The mail about a run could not be sent: EventBridge may not publish to the topic"
  namespace           = "AWS/Events"
  metric_name         = "FailedInvocations"
  dimensions          = { RuleName = each.value }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.failures.arn]
}

# A run at the head of a queue that cannot start, for a cause that AWS Batch recognises: no capacity, a misconfigured or full
# environment. Source: docs.aws.amazon.com/batch/latest/userguide/batch-job-queue-blocked-events.html.
resource "aws_cloudwatch_event_rule" "blocked_run" {
  name        = "${var.name}-blocked-run"
  description = "A run cannot start"
  event_pattern = jsonencode({
    source      = ["aws.batch"]
    detail-type = ["Batch Job Queue Blocked"]
    detail      = { jobQueue = local.submittable }
  })
}

resource "aws_cloudwatch_event_target" "blocked_run" {
  rule      = aws_cloudwatch_event_rule.blocked_run.name
  target_id = "failures"
  arn       = aws_sns_topic.failures.arn

  input_transformer {
    input_paths = {
      name   = "$.detail.jobName"
      reason = "$.detail.statusReason"
      run    = "$.detail.jobId"
    }
    input_template = "\"Run <run> (<name>) cannot start: <reason>.${var.watcher ? " The watcher replaces it;" : ""} `numerai node status` shows how it goes.\""
  }
}

# The first ten alarms of an account are free, a further one costs 0.10 USD a month.
resource "aws_cloudwatch_metric_alarm" "webhook" {
  for_each = {
    errors    = { metric = "Errors", threshold = 1, text = "The webhook crashed or ran out of time: Numerai's call may be lost" }
    throttles = { metric = "Throttles", threshold = 20, text = "The webhook is being flooded: calls are turned away" }
  }

  alarm_name          = "${local.webhook_name}-${each.key}"
  alarm_description   = each.value.text
  namespace           = "AWS/Lambda"
  metric_name         = each.value.metric
  dimensions          = { FunctionName = aws_lambda_function.webhook.function_name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = each.value.threshold
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.failures.arn]
}

# A watcher that is not called has no errors: its rule may be disabled, or the account's functions throttled.
resource "aws_cloudwatch_metric_alarm" "watcher" {
  for_each = var.watcher ? {
    errors = { metric = "Errors", comparison = "GreaterThanOrEqualToThreshold", periods = 1, missing = "notBreaching", text = "failed" }
    silent = { metric = "Invocations", comparison = "LessThanThreshold", periods = 3, missing = "breaching", text = "was not called for 15 minutes" }
  } : {}

  alarm_name          = "${local.watcher_name}-${each.key}"
  alarm_description   = "The watcher ${each.value.text}: whether every node has submitted may not be known"
  namespace           = "AWS/Lambda"
  metric_name         = each.value.metric
  dimensions          = { FunctionName = aws_lambda_function.watcher["this"].function_name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = each.value.periods
  threshold           = 1
  comparison_operator = each.value.comparison
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.failures.arn]
}

moved {
  from = aws_cloudwatch_metric_alarm.watcher["this"]
  to   = aws_cloudwatch_metric_alarm.watcher["errors"]
}
