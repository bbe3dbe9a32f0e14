data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_availability_zones" "available" {
  #checkov:skip=CKV_AWS_394:All of them are wanted, up to six, and a subnet stays in the zone it was made in whatever the list becomes.
  state = "available"

  # Those without Fargate: docs.aws.amazon.com/AmazonECS/latest/developerguide/AWS_Fargate-Regions.html.
  exclude_zone_ids = ["apne1-az3", "usw1-az2"]

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  batch_arn = "arn:${local.partition}:batch:${var.region}:${local.account}"

  # What a node runs on: Fargate unless it asks for a GPU or for more than Fargate's largest task.
  kind = {
    for name, node in var.nodes :
    name => node.gpu > 0 ? "gpu" : node.cpu > 16 || node.memory_mib > 122880 ? "ec2" : "fargate"
  }

  # Fargate's queue always exists, so that the first node is not slower than the second.
  kinds     = setunion(["fargate"], values(local.kind))
  ec2_kinds = setsubtract(local.kinds, ["fargate"])

  # The largest node must fit, whatever max_vcpus says.
  max_vcpus = max(var.max_vcpus, [for node in values(var.nodes) : ceil(node.cpu)]...)
}
