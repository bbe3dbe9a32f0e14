locals {
  scheduled = { for name, node in var.nodes : name => node.cron if node.cron != null }
}

resource "aws_scheduler_schedule" "node" {
  #checkov:skip=CKV_AWS_297:Encrypted by the service, and holds nothing but a name and a time; an own key costs 1 USD a month.
  for_each = local.scheduled

  name                         = "${var.name}-${each.key}"
  description                  = "Runs ${each.key} without waiting for Numerai's webhook"
  schedule_expression          = "cron(${each.value})"
  schedule_expression_timezone = "UTC"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = "arn:${local.partition}:scheduler:::aws-sdk:batch:submitJob"
    role_arn = aws_iam_role.scheduler["this"].arn
    input = jsonencode({
      JobName       = "${each.key}-scheduled"
      JobQueue      = aws_batch_job_queue.this[local.kind[each.key]].arn
      JobDefinition = aws_batch_job_definition.node[each.key].name
    })

    retry_policy {
      maximum_event_age_in_seconds = 1800
      maximum_retry_attempts       = 5
    }
  }
}
