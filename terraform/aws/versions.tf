terraform {
  # 1.10 is the first version whose S3 backend can lock by itself (use_lockfile).
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  region              = var.region
  allowed_account_ids = var.account == null ? null : [var.account]
  max_retries         = 10

  default_tags {
    tags = merge(
      {
        "numerai:cluster" = var.name
        "numerai:tool"    = "numerai-compute"
      },
      var.stack_id == null ? {} : { "numerai:stack" = var.stack_id }
    )
  }
}
