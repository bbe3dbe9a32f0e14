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
  region      = var.region
  max_retries = 10

  default_tags {
    tags = {
      "numerai:cluster" = var.name
      "numerai:tool"    = "numerai-compute"
    }
  }
}
