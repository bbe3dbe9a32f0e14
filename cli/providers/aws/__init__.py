"""Runs nodes on AWS: a Lambda webhook in front of AWS Batch, provisioned with Terraform."""
