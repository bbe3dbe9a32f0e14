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

run "rules_may_publish_to_the_topic_without_a_condition" {
  command = plan

  assert {
    condition = [
      for statement in data.aws_iam_policy_document.failures.statement : length(statement.condition)
      if contains(flatten([for principal in statement.principals : tolist(principal.identifiers)]), "events.amazonaws.com")
    ] == [0]
    error_message = "EventBridge drops what a topic's policy admits under a condition only."
  }

  assert {
    condition = alltrue([
      for statement in data.aws_iam_policy_document.failures.statement : length(statement.condition) == 1
      if !contains(flatten([for principal in statement.principals : tolist(principal.identifiers)]), "events.amazonaws.com")
    ])
    error_message = "CloudWatch and Budgets say for which account they publish, so no other account's may."
  }

  assert {
    condition = [
      for alarm in values(aws_cloudwatch_metric_alarm.rule) : [alarm.namespace, alarm.metric_name, alarm.dimensions.RuleName]
    ] == [for name in ["numerai-blocked-run", "numerai-failed-run"] : ["AWS/Events", "FailedInvocations", name]]
    error_message = "A mail that EventBridge cannot hand over must raise an alarm."
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

  assert {
    condition = {
      for name, alarm in aws_cloudwatch_metric_alarm.watcher : name =>
      "${alarm.metric_name} ${alarm.comparison_operator} ${alarm.threshold} in ${alarm.period * alarm.evaluation_periods} s, missing is ${alarm.treat_missing_data}"
      } == {
      errors = "Errors GreaterThanOrEqualToThreshold 1 in 300 s, missing is notBreaching"
      silent = "Invocations LessThanThreshold 1 in 900 s, missing is breaching"
    }
    error_message = "A watcher that fails must raise an alarm, and so must one that is not called."
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
    target          = aws_iam_role.node
    override_during = plan
    values          = { arn = "arn:aws:iam::123456789012:role/run" }
  }

  override_resource {
    target          = aws_iam_role.execution
    override_during = plan
    values          = { arn = "arn:aws:iam::123456789012:role/execution" }
  }

  assert {
    condition     = contains(jsondecode(aws_batch_job_definition.node["numerai-alice"].container_properties).environment, { name = "NUMERAI_DATA_VERSION", value = "v5.2" })
    error_message = "The pinned version must arrive as NUMERAI_DATA_VERSION."
  }

  assert {
    condition     = contains(jsondecode(aws_batch_job_definition.node["numerai-alice"].container_properties).environment, { name = "AWS_REGION", value = "us-east-1" })
    error_message = "A run must know its region on hosts whose agent does not tell it."
  }

  assert {
    condition = {
      for name, value in jsondecode(aws_batch_job_definition.node["numerai-alice"].container_properties).logConfiguration.options : name => value
      if contains(["mode", "max-buffer-size"], name)
    } == { mode = "non-blocking", max-buffer-size = "25m" }
    error_message = "A run must not wait for its log."
  }

  assert {
    condition = jsondecode(aws_batch_job_definition.node["numerai-alice"].container_properties).secrets == [
      for name in ["NUMERAI_NOTIFY", "NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY"] :
      { name = name, valueFrom = "arn:aws:ssm:us-east-1:123456789012:parameter/numerai/numerai/${name}" }
    ]
    error_message = "A run must get the keys from the parameters that the CLI makes."
  }

  assert {
    condition     = !strcontains(aws_batch_job_definition.node["numerai-bob"].container_properties, "NUMERAI_DATA_VERSION")
    error_message = "A node without a pinned version must have no NUMERAI_DATA_VERSION."
  }
}

run "a_node_reaches_its_own_artifacts_only" {
  command = plan

  override_resource {
    target          = aws_s3_bucket.artifacts
    override_during = plan
    values          = { bucket = "artifacts", arn = "arn:aws:s3:::artifacts" }
  }

  variables {
    nodes = {
      numerai-alice = {
        model_id     = "m-1"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
      }
      numerai-alice-2 = {
        model_id     = "m-2"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
      }
    }
  }

  assert {
    condition = {
      for name, policy in data.aws_iam_policy_document.node : name => flatten([
        for statement in policy.statement : [
          for resource in statement.resources :
          [resource, [for condition in statement.condition : [condition.test, condition.variable, tolist(condition.values)]]]
        ]
      ])
      } == {
      numerai-alice   = ["arn:aws:s3:::artifacts", "StringLike", "s3:prefix", "numerai-alice/*", "arn:aws:s3:::artifacts/numerai-alice/*"]
      numerai-alice-2 = ["arn:aws:s3:::artifacts", "StringLike", "s3:prefix", "numerai-alice-2/*", "arn:aws:s3:::artifacts/numerai-alice-2/*"]
    }
    error_message = "A node must list, read and write below its own name, and nothing else."
  }

  assert {
    condition     = { for name, role in aws_iam_role.node : name => role.name } == { numerai-alice = "numerai-run-numerai-alice", numerai-alice-2 = "numerai-run-numerai-alice-2" }
    error_message = "Each node must have a role of its own."
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
    condition     = aws_batch_job_queue.now["fargate"].name == "numerai-fargate-now"
    error_message = "The watcher's own tries must have their queue in any case."
  }

  assert {
    condition     = toset(keys(aws_batch_compute_environment.this)) == toset(["fargate-on-demand"])
    error_message = "Without Spot there must be On-Demand only."
  }
}

run "arm_is_another_platform_and_other_hosts" {
  command = plan

  variables {
    architecture = "arm64"
    nodes = {
      small = {
        model_id     = "m-1"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
      }
      big = {
        model_id     = "m-1"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
        cpu          = 32
        memory_mib   = 200000
      }
    }
  }

  assert {
    condition     = alltrue([for type in aws_batch_compute_environment.this["ec2-on-demand"].compute_resources[0].instance_type : endswith(type, "g")])
    error_message = "Hosts must be of families with Graviton processors."
  }

  assert {
    condition     = local.cpu_architecture == "ARM64"
    error_message = "Fargate must be told."
  }
}

run "there_is_no_arm_for_gpus" {
  command = plan

  variables {
    architecture = "arm64"
    nodes = {
      gpu = {
        model_id     = "m-1"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
        cpu          = 4
        memory_mib   = 15000
        gpu          = 1
      }
    }
  }

  expect_failures = [var.architecture]
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
    condition     = toset(keys(aws_batch_job_queue.this)) == toset(["ec2", "fargate", "gpu"]) && keys(aws_batch_job_queue.now) == keys(aws_batch_job_queue.this)
    error_message = "Each kind must have its queue, and one that does not wait for Spot."
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

run "hosts_are_of_families_that_are_named" {
  command = plan

  variables {
    nodes = {
      big = {
        model_id     = "m-1"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
        cpu          = 192
        memory_mib   = 1474560
      }
    }
  }

  assert {
    condition     = !contains(aws_batch_compute_environment.this["ec2-spot"].compute_resources[0].instance_type, "optimal")
    error_message = "What `optimal` stands for is AWS's to change, and holds no host as large as a node may be."
  }
}

run "a_node_beyond_any_host_is_refused" {
  command = plan

  variables {
    nodes = {
      numerai-alice = {
        model_id     = "m-1"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
        cpu          = 192
        memory_mib   = 1474561
      }
    }
  }

  expect_failures = [var.nodes]
}

run "a_node_beyond_any_host_with_gpus_is_refused" {
  command = plan

  variables {
    nodes = {
      numerai-alice = {
        model_id     = "m-1"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
        cpu          = 8
        memory_mib   = 737281
        gpu          = 1
      }
    }
  }

  expect_failures = [var.nodes]
}

run "every_zone_that_runs_containers_has_a_subnet" {
  command = plan

  override_data {
    target = data.aws_availability_zones.available
    values = { names = ["r-1g", "r-1f", "r-1e", "r-1d", "r-1c", "r-1b", "r-1a"] }
  }

  assert {
    condition = { for name, subnet in aws_subnet.public : name => "${subnet.availability_zone} ${subnet.cidr_block}" } == {
      first  = "r-1a 10.119.0.0/24"
      second = "r-1b 10.119.1.0/24"
      third  = "r-1c 10.119.2.0/26"
      fourth = "r-1d 10.119.2.64/26"
      fifth  = "r-1e 10.119.2.128/26"
      sixth  = "r-1f 10.119.2.192/26"
    }
    error_message = "The first two subnets must stay as they were, and six zones must have one each."
  }

  assert {
    condition     = toset(data.aws_availability_zones.available.exclude_zone_ids) == toset(["apne1-az3", "usw1-az2"])
    error_message = "Zones without Fargate must be left out."
  }
}

run "two_zones_are_enough" {
  command = plan

  override_data {
    target = data.aws_availability_zones.available
    values = { names = ["us-west-1c", "us-west-1a"] }
  }

  assert {
    condition     = toset(keys(aws_subnet.public)) == toset(["first", "second"])
    error_message = "There must be no subnet without a zone."
  }
}

run "a_name_that_ecr_does_not_take_is_refused" {
  command = plan

  variables {
    nodes = {
      numerai-a-_b = {
        model_id     = "m-1"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
      }
    }
  }

  expect_failures = [var.nodes]
}

run "a_name_whose_role_would_be_too_long_is_refused" {
  command = plan

  variables {
    name = "a-cluster-of-24-letters1"
    nodes = {
      numerai-of-36-characters-and-no-more = {
        model_id     = "m-1"
        token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
      }
    }
  }

  expect_failures = [var.nodes]
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
        [aws_iam_role.execution, aws_iam_role.webhook], values(aws_iam_role.node),
        values(aws_iam_role.watcher), values(aws_iam_role.scheduler), values(aws_iam_role.host), values(aws_iam_role.flow),
      ) : role.permissions_boundary == var.permissions_boundary
    ])
    error_message = "A role is made without the permissions boundary."
  }
}
