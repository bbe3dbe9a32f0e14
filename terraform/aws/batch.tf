locals {
  capacity = {
    for pair in setproduct(local.kinds, var.use_spot ? ["spot", "on-demand"] : ["on-demand"]) :
    "${pair[0]}-${pair[1]}" => { kind = pair[0], spot = pair[1] == "spot" }
  }

  cpu_architecture = { amd64 = "X86_64", arm64 = "ARM64" }[var.architecture]

  # What `optimal` stands for is AWS's to change. The largest of r7i have 192 vCPUs and 1,536 GiB, of g5 and g6 192 and 768; what
  # the system keeps of that is left out of what a node may ask for (variables.tf). For arm64 the families of AWS Batch's own
  # `default_arm64`, by name: docs.aws.amazon.com/batch/latest/userguide/instance-type-compute-table.html. The image type
  # ECS_AL2023 is for both.
  instance_types = {
    ec2 = var.architecture == "arm64" ? ["m6g", "c6g", "r6g", "c7g"] : ["c6i", "c7i", "m6i", "m7i", "r6i", "r7i"]
    gpu = ["g4dn", "g5", "g6"]
  }

  image_types = {
    ec2 = "ECS_AL2023"
    gpu = "ECS_AL2023_NVIDIA"
  }

  # A host holds its system, the image and what one run may write.
  host_disk_gib = max(30, [for node in values(var.nodes) : node.disk_gib + 10]...)
}

# Compute environments at rest hold nothing and cost nothing: they start at zero vCPUs and go back there.
resource "aws_batch_compute_environment" "this" {
  for_each = local.capacity

  compute_environment_name_prefix = "${var.name}-${each.key}-"
  type                            = "MANAGED"

  compute_resources {
    type = (
      each.value.kind == "fargate"
      ? (each.value.spot ? "FARGATE_SPOT" : "FARGATE")
      : (each.value.spot ? "SPOT" : "EC2")
    )
    max_vcpus          = local.max_vcpus
    min_vcpus          = each.value.kind == "fargate" ? null : 0
    subnets            = [for subnet in aws_subnet.public : subnet.id]
    security_group_ids = [aws_security_group.runs.id]

    allocation_strategy = (
      each.value.kind == "fargate" ? null : each.value.spot ? "SPOT_PRICE_CAPACITY_OPTIMIZED" : "BEST_FIT_PROGRESSIVE"
    )
    instance_role = each.value.kind == "fargate" ? null : aws_iam_instance_profile.host[each.value.kind].arn
    instance_type = each.value.kind == "fargate" ? null : local.instance_types[each.value.kind]

    dynamic "ec2_configuration" {
      for_each = each.value.kind == "fargate" ? [] : [local.image_types[each.value.kind]]

      content {
        image_type = ec2_configuration.value
      }
    }

    dynamic "launch_template" {
      for_each = each.value.kind == "fargate" ? [] : [aws_launch_template.host[each.value.kind]]

      content {
        launch_template_id = launch_template.value.id
        version            = launch_template.value.latest_version
      }
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_batch_job_queue" "this" {
  for_each = local.kinds

  name     = "${var.name}-${each.key}"
  state    = "ENABLED"
  priority = 1

  dynamic "compute_environment_order" {
    for_each = [for capacity in var.use_spot ? ["spot", "on-demand"] : ["on-demand"] : "${each.key}-${capacity}"]

    content {
      order               = compute_environment_order.key + 1
      compute_environment = aws_batch_compute_environment.this[compute_environment_order.value].arn
    }
  }
}

# The watcher's own tries go here. Neither AWS Batch nor ECS promises to leave a Spot environment that has no capacity: a job
# can stay RUNNABLE for ever, and only the causes that AWS recognises block the queue visibly. Source:
# docs.aws.amazon.com/batch/latest/userguide/job_stuck_in_runnable.html. A queue costs nothing.
resource "aws_batch_job_queue" "now" {
  for_each = local.kinds

  name     = "${var.name}-${each.key}-now"
  state    = "ENABLED"
  priority = 1

  compute_environment_order {
    order               = 1
    compute_environment = aws_batch_compute_environment.this["${each.key}-on-demand"].arn
  }
}

# Hosts for what Fargate cannot run: encrypted disks, and instance credentials only through IMDSv2.
resource "aws_launch_template" "host" {
  for_each = local.ec2_kinds

  name_prefix = "${var.name}-${each.key}-"

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = local.host_disk_gib
      volume_type           = "gp3"
      encrypted             = true
      kms_key_id            = var.kms_key_arn
      delete_on_termination = true
    }
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  tags = { Name = "${var.name}-${each.key}" }
}
