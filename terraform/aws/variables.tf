variable "account" {
  description = "Number of the AWS account in which everything is made: credentials of another one are refused. Null takes any."
  type        = string
  default     = null

  validation {
    condition     = var.account == null || can(regex("^[0-9]{12}$", var.account))
    error_message = "The account must be 12 digits."
  }
}

variable "region" {
  description = "AWS region of everything in this root."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "The region must look like us-east-1."
  }
}

variable "name" {
  description = "Name of the cluster: the first part of every name made here, so that several clusters fit in one account."
  type        = string
  default     = "numerai"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name))
    error_message = "The name must be 3 to 24 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "stack_id" {
  description = "What the record of this cluster is known by, on everything made here as the tag `numerai:stack`: an interrupted command's work is told from a stranger's by it. Null for no such tag."
  type        = string
  default     = null

  validation {
    condition     = var.stack_id == null || can(regex("^[0-9a-f]{32}$", var.stack_id))
    error_message = "stack_id must be 32 lower-case hexadecimal digits."
  }
}

variable "nodes" {
  description = <<-EOT
    The prediction nodes by name (`<tournament>-<model>`). `cpu` is in vCPUs, `memory_mib` and `disk_gib` in MiB and GiB,
    `cron` the six fields of an EventBridge schedule in UTC, `token_sha256` the hex SHA-256 of the 256-bit random token
    in the node's webhook address (the token itself is never given to Terraform), `data_version` the version of Numerai's
    data (`v5.3`, or `newest`; without one a run uses the version that its model was trained on), `retrain_days` the age at
    which a run trains its model again (never without one). The watcher looks at the rounds that open after `since` (RFC
    3339), at all of them without one; one that is `moving` here from elsewhere and has no `cron` it leaves alone until
    Numerai calls the address with its token.
  EOT
  type = map(object({
    model_id        = string
    tournament      = optional(number, 8)
    token_sha256    = string
    cpu             = optional(number, 2)
    memory_mib      = optional(number, 16384)
    gpu             = optional(number, 0)
    disk_gib        = optional(number, 20)
    timeout_minutes = optional(number, 60)
    cron            = optional(string)
    since           = optional(string)
    data_version    = optional(string)
    retrain_days    = optional(number)
    moving          = optional(bool, false)
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for name, _ in var.nodes : can(regex("^[a-z0-9]+((_|__|-+)[a-z0-9]+)*$", name))])
    error_message = "A node's name must be lower-case letters and digits, with `_`, `__` or hyphens between them."
  }

  # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html, and the same for a schedule's name
  validation {
    condition     = alltrue([for name, _ in var.nodes : length("${var.name}-run-${name}") <= 64])
    error_message = "A node's name and the cluster's must have 59 characters together at most."
  }

  validation {
    condition     = alltrue([for node in values(var.nodes) : can(regex("^[0-9A-Za-z-]{1,64}$", node.model_id))])
    error_message = "A node's model_id must be letters, digits and hyphens."
  }

  validation {
    condition     = alltrue([for node in values(var.nodes) : contains([8, 11, 12], node.tournament)])
    error_message = "A node's tournament must be 8 (Classic), 11 (Signals) or 12 (Crypto)."
  }

  validation {
    condition = alltrue([
      for node in values(var.nodes) : node.data_version == null || can(regex("^(newest|v[0-9]{1,4}(\\.[0-9]{1,4})?)$", node.data_version))
    ])
    error_message = "A node's data_version must be a version such as `v5.3`, or `newest`."
  }

  validation {
    condition = alltrue([
      for node in values(var.nodes) : node.retrain_days == null || try(node.retrain_days >= 1 && node.retrain_days == floor(node.retrain_days), false)
    ])
    error_message = "A node's retrain_days must be a whole number of days, 1 at least."
  }

  validation {
    condition     = alltrue([for node in values(var.nodes) : can(regex("^[0-9a-f]{64}$", node.token_sha256))])
    error_message = "A node's token_sha256 must be 64 lower-case hexadecimal digits."
  }

  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html
  validation {
    condition = alltrue([
      for node in values(var.nodes) :
      node.gpu > 0 || node.cpu > 16 || node.memory_mib > 122880 || contains(lookup({
        "0.25" = [512, 1024, 2048]
        "0.5"  = range(1024, 4097, 1024)
        "1"    = range(2048, 8193, 1024)
        "2"    = range(4096, 16385, 1024)
        "4"    = range(8192, 30721, 1024)
        "8"    = range(16384, 61441, 4096)
        "16"   = range(32768, 122881, 8192)
      }, tostring(node.cpu), []), node.memory_mib)
    ])
    error_message = "A node's cpu and memory_mib must be a pair that Fargate offers, or be larger than Fargate's largest."
  }

  validation {
    condition = alltrue([
      for node in values(var.nodes) :
      node.gpu == floor(node.gpu) && node.gpu >= 0 && node.gpu <= 8 &&
      (node.gpu == 0 && node.cpu <= 16 && node.memory_mib <= 122880 ||
      node.cpu == floor(node.cpu) && node.cpu >= 1 && node.cpu <= 192 && node.memory_mib >= 512 && node.memory_mib <= (node.gpu > 0 ? 737280 : 1474560))
    ])
    error_message = "A node beyond Fargate needs 0 to 8 GPUs, 1 to 192 whole vCPUs and 512 to 1474560 MiB, 737280 with GPUs."
  }

  validation {
    condition     = alltrue([for node in values(var.nodes) : node.disk_gib >= 20 && node.disk_gib <= 200])
    error_message = "A node's disk_gib must be 20 to 200."
  }

  validation {
    condition     = alltrue([for node in values(var.nodes) : node.timeout_minutes >= 1 && node.timeout_minutes <= 1440])
    error_message = "A node's timeout_minutes must be 1 to 1440."
  }

  validation {
    condition     = alltrue([for node in values(var.nodes) : node.since == null || can(timeadd(node.since, "0s"))])
    error_message = "A node's since must be a time like 2026-01-06T12:00:00Z."
  }

  validation {
    condition = alltrue([
      for node in values(var.nodes) : node.cron == null || can(regex("^[0-9A-Za-z*,/?#-]+( [0-9A-Za-z*,/?#-]+){5}$", node.cron))
    ])
    error_message = "A node's cron must have the six fields of an EventBridge schedule, e.g. `30 12 ? * TUE-SAT *`."
  }
}

variable "watcher" {
  description = "Whether a function looks every five minutes if a round is open and every node has submitted, and starts the runs that are missing."
  type        = bool
  default     = true
  nullable    = false
}

variable "watcher_grace_minutes" {
  description = "How long after the opening a node may take to submit before the watcher starts a run."
  type        = number
  default     = 10

  validation {
    condition     = var.watcher_grace_minutes >= 1 && var.watcher_grace_minutes <= 45
    error_message = "watcher_grace_minutes must be 1 to 45: a window may be no longer than an hour."
  }
}

variable "watcher_package_path" {
  description = "Path of the watcher's zip, made reproducibly by the CLI from watcher/ and what it shares with the CLI."
  type        = string
}

variable "watcher_package_sha256" {
  description = "Base64 SHA-256 of that zip: the function is updated when it changes."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9+/]{43}=$", var.watcher_package_sha256))
    error_message = "The hash must be the base64 form of a SHA-256."
  }
}

variable "webhook_package_path" {
  description = "Path of the webhook's zip, made reproducibly by the CLI from webhook/ and what it shares with the CLI."
  type        = string
}

variable "webhook_package_sha256" {
  description = "Base64 SHA-256 of that zip: the function is updated when it changes."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9+/]{43}=$", var.webhook_package_sha256))
    error_message = "The hash must be the base64 form of a SHA-256."
  }
}

variable "webhook_concurrency" {
  description = "How many requests the webhook serves at once; more are answered 429. -1 for accounts whose own limit is too low to reserve any."
  type        = number
  default     = 10

  validation {
    condition     = var.webhook_concurrency == -1 || (var.webhook_concurrency >= 1 && var.webhook_concurrency <= 100)
    error_message = "webhook_concurrency must be -1 or 1 to 100."
  }
}

variable "webhook_runs_per_hour" {
  description = "How many runs a node's webhook may start in an hour; more are answered 429. Bounds what a leaked address can cost."
  type        = number
  default     = 60

  validation {
    condition     = var.webhook_runs_per_hour >= 1 && var.webhook_runs_per_hour <= 3600
    error_message = "webhook_runs_per_hour must be 1 to 3600."
  }
}

variable "numerai_api_url" {
  description = "Numerai's API, where it is not Numerai's own (the sandbox); null otherwise."
  type        = string
  default     = null

  validation {
    condition     = var.numerai_api_url == null || can(regex("^https?://[^[:space:]]+$", var.numerai_api_url))
    error_message = "numerai_api_url must be an http or https address."
  }
}

variable "image_tag" {
  description = "The moving image tag that every run pulls: a deploy moves it and needs no Terraform."
  type        = string
  default     = "live"

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$", var.image_tag))
    error_message = "image_tag must be a valid image tag."
  }
}

variable "cidr" {
  description = "Address range of the VPC, clear of Docker's own bridges (172.17.0.0/12 and 192.168.0.0/16)."
  type        = string
  default     = "10.119.0.0/22"

  validation {
    condition = (
      can(cidrhost(var.cidr, 0)) && can(regex("^(10|100)[.]", var.cidr)) &&
      tonumber(split("/", var.cidr)[1]) >= 16 && tonumber(split("/", var.cidr)[1]) <= 24
    )
    error_message = "The range must lie in 10.0.0.0/8 or 100.64.0.0/10 and be a /16 to a /24."
  }
}

variable "max_vcpus" {
  description = "How many vCPUs all runs of one kind may use at once; a single node may ask for more. It bounds the cost."
  type        = number
  default     = 64

  validation {
    condition     = var.max_vcpus >= 1 && var.max_vcpus <= 1024
    error_message = "max_vcpus must be 1 to 1024."
  }
}

variable "use_spot" {
  description = "Whether runs try Spot capacity (about a third of the price) before On-Demand."
  type        = bool
  default     = true
}

variable "architecture" {
  description = "The processors that runs get: amd64, or arm64, which costs a fifth less and takes images for linux/arm64."
  type        = string
  default     = "amd64"
  nullable    = false

  validation {
    condition     = contains(["amd64", "arm64"], var.architecture)
    error_message = "architecture must be amd64 or arm64."
  }

  # r6g.16xlarge, the largest host of the families in batch.tf, has 64 vCPUs and 512 GiB.
  validation {
    condition     = var.architecture == "amd64" || alltrue([for node in values(var.nodes) : node.cpu <= 64 && node.memory_mib <= 491520])
    error_message = "A node on arm64 has at most 64 vCPUs and 491520 MiB."
  }

  validation {
    condition     = var.architecture == "amd64" || alltrue([for node in values(var.nodes) : node.gpu == 0])
    error_message = "A node with a GPU needs the architecture amd64: the hosts with GPUs here (g4dn, g5, g6) have no other."
  }
}

variable "log_retention_days" {
  description = "How long logs of runs and of the webhook are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_retention_days)
    error_message = "log_retention_days must be one of the values that CloudWatch Logs accepts, up to 731."
  }
}

variable "notification_email" {
  description = "Where failed runs and alarms are reported; AWS asks that address for a confirmation once. Null for none."
  type        = string
  default     = null

  validation {
    condition     = var.notification_email == null || can(regex("^[^@[:space:]]+@[^@[:space:]]+$", var.notification_email))
    error_message = "notification_email must be an e-mail address."
  }
}

variable "monthly_budget_usd" {
  description = "Warn when the month's cost of the whole account passes 80 % of this, or is forecast to pass it. Null for no budget."
  type        = number
  default     = null

  validation {
    condition     = var.monthly_budget_usd == null || try(var.monthly_budget_usd > 0, false)
    error_message = "monthly_budget_usd must be more than 0."
  }
}

variable "kms_key_arn" {
  description = "An own KMS key (about 1 USD a month) for everything stored here. Null for the keys that AWS keeps, at no cost."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key."
  }
}

variable "flow_logs" {
  description = "Whether rejected traffic of the VPC is logged (billed per GB)."
  type        = bool
  default     = false
}

variable "keep_artifacts" {
  description = "Whether destroying the cluster is refused while the artifacts bucket or a node's repository holds anything."
  type        = bool
  default     = false
}

variable "permissions_boundary" {
  description = "ARN of the IAM policy that limits what every role made here may do, for accounts where roles may only be made with one. Null for none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary == null || can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/", var.permissions_boundary))
    error_message = "permissions_boundary must be the ARN of an IAM policy."
  }
}
