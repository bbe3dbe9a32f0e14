# The shape of what numerai-cli 1.1 makes on AWS: the same kinds of resources, under the same addresses and names, in a module
# `aws` below a root whose only input is a file of nodes. Written for tests. The original asks for Terraform 1.5.6 exactly.
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0, < 6.0"
    }
  }
}

variable "region" {
  description = "Where everything is made."
  type        = string
  default     = "us-east-1"
}

variable "node_config_file" {
  description = "The nodes, as numerai-cli keeps them."
  type        = string
  default     = "../nodes.json"
}

provider "aws" {
  region = var.region
}

locals {
  nodes = { for name, node in jsondecode(file(var.node_config_file)) : name => node if node.provider == "aws" }
}

module "aws" {
  count  = length(local.nodes) > 0 ? 1 : 0
  source = "./aws"
  region = var.region
  nodes  = local.nodes
}

output "aws_nodes" {
  description = "What the command line adds to its record of each node."
  value       = length(module.aws) > 0 ? module.aws[0].outputs : {}
}
