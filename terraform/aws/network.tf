resource "aws_vpc" "this" {
  #checkov:skip=CKV2_AWS_11:Flow logs are billed per GB; nothing listens in this VPC. The option flow_logs turns them on.
  cidr_block           = var.cidr
  enable_dns_hostnames = true
  enable_dns_support   = true

  tags = { Name = var.name }
}

# Takes every rule away from the group that AWS makes with a VPC, so that nothing can be put in it by accident.
resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id

  tags = { Name = var.name }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.this.id
  }

  tags = { Name = "${var.name}-public" }
}

# One in each zone, up to six: capacity, Spot's above all, is a zone's own, and a subnet costs nothing. The first two have a quarter
# of the range each, the others a sixteenth.
locals {
  zones = sort(data.aws_availability_zones.available.names)
  subnets = {
    for number, name in ["first", "second", "third", "fourth", "fifth", "sixth"] : name => {
      zone = local.zones[number]
      cidr = number < 2 ? cidrsubnet(var.cidr, 2, number) : cidrsubnet(var.cidr, 4, 6 + number)
    } if number < length(local.zones)
  }
}

resource "aws_subnet" "public" {
  #checkov:skip=CKV_AWS_130:Only where EC2 is needed: those instances must reach the registry, a NAT gateway costs 33 USD a month, and the security group admits nothing.
  for_each = local.subnets

  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.value.zone
  cidr_block              = each.value.cidr
  map_public_ip_on_launch = length(local.ec2_kinds) > 0

  tags = { Name = "${var.name}-public-${each.key}" }

  # A zone that AWS adds or takes away must not move what is there.
  lifecycle {
    ignore_changes = [availability_zone]
  }
}

resource "aws_route_table_association" "public" {
  for_each = aws_subnet.public

  subnet_id      = each.value.id
  route_table_id = aws_route_table.public.id
}

# Runs only call out: Numerai's API and data, the registry, logs. Nothing may connect to them.
resource "aws_security_group" "runs" {
  #checkov:skip=CKV2_AWS_5:Attached to the Batch compute environments, which the check does not look at.
  name        = "${var.name}-runs"
  description = "Prediction runs: no ingress, everything out"
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-runs" }
}

resource "aws_vpc_security_group_egress_rule" "runs" {
  #checkov:skip=CKV_AWS_382:A user's model may call any data vendor, on any port; what must be kept out is ingress, and there is none.
  security_group_id = aws_security_group.runs.id
  description       = "Numerai, data vendors and AWS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

locals {
  flow_logs = var.flow_logs ? { this = true } : {}
}

resource "aws_flow_log" "this" {
  for_each = local.flow_logs

  vpc_id          = aws_vpc.this.id
  traffic_type    = "REJECT"
  log_destination = aws_cloudwatch_log_group.flow[each.key].arn
  iam_role_arn    = aws_iam_role.flow[each.key].arn
}

resource "aws_cloudwatch_log_group" "flow" {
  #checkov:skip=CKV_AWS_338:How long logs are kept is the owner's choice, log_retention_days; storage is billed by the month.
  #checkov:skip=CKV_AWS_158:Encrypted by the service; an own key costs 1 USD a month and is the option kms_key_arn.
  for_each = local.flow_logs

  name              = "/numerai/${var.name}/flow"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}
