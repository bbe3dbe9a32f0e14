# Plans against a mocked provider: what a set of nodes becomes, and what is refused. Needs no account.

mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["us-east-1b", "us-east-1a", "us-east-1c"] }
  }

  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

variables {
  region                 = "us-east-1"
  webhook_package_path   = "webhook.zip"
  webhook_package_sha256 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
  watcher_package_path   = "watcher.zip"
  watcher_package_sha256 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
  nodes = {
    numerai-alice = {
      model_id     = "m-1"
      token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
    }
  }
}

run "one_node_needs_no_host_and_no_schedule" {
  command = plan

  assert {
    condition     = toset(keys(aws_batch_job_queue.this)) == toset(["fargate"])
    error_message = "A small node must run on Fargate alone."
  }

  assert {
    condition     = length(aws_iam_role.host) + length(aws_iam_role.scheduler) + length(aws_launch_template.host) == 0
    error_message = "Hosts and schedules must cost no role until they are needed."
  }

  assert {
    condition     = alltrue([for subnet in aws_subnet.public : !subnet.map_public_ip_on_launch])
    error_message = "Subnets must not give addresses away where no host needs one."
  }

  assert {
    condition     = length(aws_budgets_budget.this) + length(aws_flow_log.this) + length(aws_sns_topic_subscription.email) == 0
    error_message = "Options must be off by default."
  }

  assert {
    condition     = aws_subnet.public["first"].cidr_block != aws_subnet.public["second"].cidr_block
    error_message = "The subnets must not overlap."
  }
}

run "the_watcher_is_there_and_looks_all_week" {
  command = plan

  assert {
    condition     = [for rule in values(aws_cloudwatch_event_rule.watcher) : rule.schedule_expression] == ["rate(5 minutes)"]
    error_message = "When the windows are is Numerai's to say: no hour or day may be left out."
  }

  assert {
    condition     = aws_lambda_function.watcher["this"].environment[0].variables.GRACE_MINUTES == "10"
    error_message = "A node must have ten minutes to submit by itself."
  }

  assert {
    condition     = aws_lambda_function.watcher["this"].environment[0].variables.NUMERAI_API_URL == "https://api-tournament.numer.ai"
    error_message = "Without another address the watcher must ask Numerai itself."
  }
}

run "the_watcher_can_be_left_out" {
  command = plan

  variables {
    watcher = false
  }

  assert {
    condition     = length(aws_lambda_function.watcher) + length(aws_iam_role.watcher) + length(aws_cloudwatch_event_rule.watcher) + length(aws_cloudwatch_metric_alarm.watcher) == 0
    error_message = "Nothing of the watcher may be left."
  }
}

run "the_watcher_adds_nothing_per_node" {
  command = plan

  variables {
    nodes = {
      for number in range(10) : "numerai-n${number}" => {
        model_id     = "m-${number}"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
        since        = "2026-01-06T12:00:00Z"
      }
    }
  }

  assert {
    condition     = length(aws_lambda_function.watcher) == 1 && length(aws_iam_role.watcher) == 1 && length(aws_cloudwatch_event_rule.watcher) == 1
    error_message = "Ten nodes must have one watcher."
  }
}

run "a_grace_that_outlasts_a_window_is_refused" {
  command = plan

  variables {
    watcher_grace_minutes = 60
  }

  expect_failures = [var.watcher_grace_minutes]
}

run "a_since_that_is_no_time_is_refused" {
  command = plan

  variables {
    nodes = {
      numerai-alice = {
        model_id     = "m-1"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
        since        = "last tuesday"
      }
    }
  }

  expect_failures = [var.nodes]
}

run "a_pinned_data_version_reaches_the_runs_and_none_does_not" {
  command = plan

  variables {
    nodes = {
      numerai-alice = {
        model_id     = "m-1"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
        data_version = "v5.2"
      }
      numerai-bob = {
        model_id     = "m-2"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
      }
    }
  }

  override_resource {
    target          = aws_s3_bucket.artifacts
    override_during = plan
    values          = { bucket = "artifacts", arn = "arn:aws:s3:::artifacts" }
  }

  override_resource {
    target          = aws_ecr_repository.node
    override_during = plan
    values          = { repository_url = "123456789012.dkr.ecr.us-east-1.amazonaws.com/node", arn = "arn:aws:ecr:us-east-1:123456789012:repository/node" }
  }

  override_resource {
    target          = aws_iam_role.run
    override_during = plan
    values          = { arn = "arn:aws:iam::123456789012:role/run" }
  }

  override_resource {
    target          = aws_iam_role.execution
    override_during = plan
    values          = { arn = "arn:aws:iam::123456789012:role/execution" }
  }

  override_resource {
    target          = aws_secretsmanager_secret.numerai_keys
    override_during = plan
    values          = { arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:keys" }
  }

  assert {
    condition     = contains(jsondecode(aws_batch_job_definition.node["numerai-alice"].container_properties).environment, { name = "NUMERAI_DATA_VERSION", value = "v5.2" })
    error_message = "The pinned version must arrive as NUMERAI_DATA_VERSION."
  }

  assert {
    condition     = !strcontains(aws_batch_job_definition.node["numerai-bob"].container_properties, "NUMERAI_DATA_VERSION")
    error_message = "A node without a pinned version must have no NUMERAI_DATA_VERSION."
  }
}

run "a_data_version_that_is_none_is_refused" {
  command = plan

  variables {
    nodes = {
      numerai-alice = {
        model_id     = "m-1"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
        data_version = "signals/v2.1"
      }
    }
  }

  expect_failures = [var.nodes]
}

run "spot_comes_first_and_can_be_left_out" {
  command = plan

  variables {
    use_spot = false
  }

  assert {
    condition     = toset(keys(aws_batch_compute_environment.this)) == toset(["fargate-on-demand"])
    error_message = "Without Spot there must be On-Demand only."
  }
}

run "what_fargate_cannot_run_gets_hosts" {
  command = plan

  variables {
    nodes = {
      gpu = {
        model_id     = "m-1"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
        cpu          = 4
        memory_mib   = 15000
        gpu          = 1
        cron         = "30 12 ? * TUE-SAT *"
      }
      big = {
        model_id     = "m-1"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
        cpu          = 96
        memory_mib   = 200000
      }
    }
  }

  assert {
    condition     = toset(keys(aws_batch_job_queue.this)) == toset(["ec2", "fargate", "gpu"])
    error_message = "Each kind must have its queue."
  }

  assert {
    condition     = aws_batch_compute_environment.this["ec2-spot"].compute_resources[0].max_vcpus == 96
    error_message = "The largest node must fit whatever max_vcpus says."
  }

  assert {
    condition     = aws_scheduler_schedule.node["gpu"].schedule_expression == "cron(30 12 ? * TUE-SAT *)"
    error_message = "A cron must become a schedule."
  }
}

run "a_pair_that_fargate_does_not_offer_is_refused" {
  command = plan

  variables {
    nodes = {
      numerai-alice = {
        model_id     = "m-1"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
        cpu          = 16
        memory_mib   = 61440
      }
    }
  }

  expect_failures = [var.nodes]
}

run "a_range_that_clashes_with_dockers_is_refused" {
  command = plan

  variables {
    cidr = "172.18.0.0/16"
  }

  expect_failures = [var.cidr]
}

run "an_empty_cluster_is_possible" {
  command = plan

  variables {
    nodes = {}
  }

  assert {
    condition     = length(aws_ecr_repository.node) == 0
    error_message = "Nothing of a node may be left."
  }
}

run "a_cron_of_five_fields_is_refused" {
  command = plan

  variables {
    nodes = {
      numerai-alice = {
        model_id     = "m-1"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
        cron         = "0 12 * * *"
      }
    }
  }

  expect_failures = [var.nodes]
}

run "a_time_limit_of_nothing_is_refused" {
  command = plan

  variables {
    nodes = {
      numerai-alice = {
        model_id        = "m-1"
        token_sha256    = "0000000000000000000000000000000000000000000000000000000000000000"
        timeout_minutes = 0
      }
    }
  }

  expect_failures = [var.nodes]
}

run "an_unknown_tournament_is_refused" {
  command = plan

  variables {
    nodes = {
      numerai-alice = {
        model_id     = "m-1"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
        tournament   = 9
      }
    }
  }

  expect_failures = [var.nodes]
}

run "a_token_in_clear_is_refused" {
  command = plan

  variables {
    nodes = {
      numerai-alice = {
        model_id     = "m-1"
        token_sha256 = "not-a-hash-but-the-token-itself"
      }
    }
  }

  expect_failures = [var.nodes]
}

run "a_name_that_cannot_be_is_refused" {
  command = plan

  variables {
    nodes = {
      "Numerai Alice" = {
        model_id     = "m-1"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
      }
    }
  }

  expect_failures = [var.nodes]
}

run "a_retention_that_cloudwatch_does_not_know_is_refused" {
  command = plan

  variables {
    log_retention_days = 31
  }

  expect_failures = [var.log_retention_days]
}

run "every_role_gets_the_boundary_that_is_set" {
  command = plan

  variables {
    permissions_boundary = "arn:aws:iam::123456789012:policy/numerai"
    flow_logs            = true
    nodes = {
      numerai-big  = { model_id = "m", token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000", cpu = 32, memory_mib = 200000 }
      numerai-cron = { model_id = "m", token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000", cron = "30 12 ? * TUE-SAT *" }
    }
  }

  assert {
    condition = alltrue([
      for role in concat(
        [aws_iam_role.execution, aws_iam_role.run, aws_iam_role.webhook],
        values(aws_iam_role.watcher), values(aws_iam_role.scheduler), values(aws_iam_role.host), values(aws_iam_role.flow),
      ) : role.permissions_boundary == var.permissions_boundary
    ])
    error_message = "A role is made without the permissions boundary."
  }
}
