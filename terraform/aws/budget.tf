resource "aws_budgets_budget" "this" {
  for_each = var.monthly_budget_usd == null ? {} : { this = var.monthly_budget_usd }

  name         = "${var.name}-monthly"
  budget_type  = "COST"
  limit_amount = tostring(each.value)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }

    content {
      notification_type         = notification.key
      comparison_operator       = "GREATER_THAN"
      threshold                 = notification.value
      threshold_type            = "PERCENTAGE"
      subscriber_sns_topic_arns = [aws_sns_topic.failures.arn]
    }
  }

  depends_on = [aws_sns_topic_policy.failures]
}
