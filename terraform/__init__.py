"""Terraform roots, one per cloud."""
