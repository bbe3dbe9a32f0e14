# The secret only: its value is put there by the CLI and never passes through Terraform, so it is in no state and no plan.
resource "aws_secretsmanager_secret" "numerai_keys" {
  #checkov:skip=CKV_AWS_149:Encrypted by the service; an own key costs 1 USD a month and is the option kms_key_arn.
  #checkov:skip=CKV2_AWS_57:Numerai issues its API keys by hand, there is nothing that could rotate them.
  name        = "${var.name}/numerai-keys"
  description = "Numerai API key of the cluster, and whom to notify: NUMERAI_PUBLIC_ID, NUMERAI_SECRET_KEY, NUMERAI_NOTIFY"
  kms_key_id  = var.kms_key_arn

  # At once, so that a destroyed cluster can be made again under its name; the keys are issued by Numerai, not kept here.
  recovery_window_in_days = 0
}
