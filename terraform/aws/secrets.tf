# The names only. The CLI makes the parameters, as SecureStrings of the standard tier, which cost nothing: as resources of this root
# they would bring their values into the state at every refresh. Whoever may read a parameter may decrypt it where it is under the
# key that AWS keeps (alias/aws/ssm): kms:Decrypt is for an own key. Source: "Secrets Manager or Systems Manager permissions",
# docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html.
locals {
  keys_path = "/numerai/${var.name}/"

  keys = {
    for name in ["NUMERAI_NOTIFY", "NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY"] :
    name => "arn:${local.partition}:ssm:${var.region}:${local.account}:parameter${local.keys_path}${name}"
  }
}
