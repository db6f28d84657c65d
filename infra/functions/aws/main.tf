# The worker as a Lambda function: reads blocks of one bucket, and writes only results that are too
# large for an answer. The frontend calls it over the Invoke API; there is no load balancer, no URL
# and nothing that is open to others.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.40"
    }
  }
}

data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  bucket_arn = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket}"
  # Keys below the prefix of storage.trace.s3.prefix, or all.
  key_prefix = var.prefix == "" ? "" : "${trim(var.prefix, "/")}/"
}

# ---- the function ----

resource "aws_lambda_function" "rubato" {
  function_name = var.name
  description   = "Rubato query worker"
  role          = aws_iam_role.function.arn

  # `make function-zip` makes it: one static executable named bootstrap.
  filename         = var.zip
  source_code_hash = filebase64sha256(var.zip)
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  architectures    = [var.architecture]

  # 1769 MB are one processor; less is a part of one, more is of use to several slots only.
  memory_size = var.memory_mb
  timeout     = var.timeout_s
  publish     = true

  # The most that a flood of queries can cost, and what is left to others in the account.
  reserved_concurrent_executions = var.concurrency

  environment {
    # The bucket's keys are the role's, which Lambda gives.
    variables = {
      TEMPO_BACKEND     = "s3"
      TEMPO_S3_BUCKET   = var.bucket
      TEMPO_S3_PREFIX   = var.prefix
      TEMPO_S3_ENDPOINT = coalesce(var.endpoint, "s3.${data.aws_region.current.name}.amazonaws.com")
      TEMPO_S3_REGION   = data.aws_region.current.name
    }
  }

  depends_on = [aws_cloudwatch_log_group.function]
}

# Frontends call the alias, so that a new version is one switch and an old one the way back.
resource "aws_lambda_alias" "live" {
  name             = "live"
  function_name    = aws_lambda_function.rubato.function_name
  function_version = aws_lambda_function.rubato.version
}

resource "aws_cloudwatch_log_group" "function" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = 7
}

# ---- what the function may do ----

resource "aws_iam_role" "function" {
  name = "${var.name}-function"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "function" {
  name = "bucket-and-log"
  role = aws_iam_role.function.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Read"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = "${local.bucket_arn}/${local.key_prefix}*"
      },
      {
        # Without it a missing key is answered with 403 instead of 404.
        Sid       = "List"
        Effect    = "Allow"
        Action    = "s3:ListBucket"
        Resource  = local.bucket_arn
        Condition = { StringLike = { "s3:prefix" = "${local.key_prefix}*" } }
      },
      {
        Sid      = "LargeResults"
        Effect   = "Allow"
        Action   = "s3:PutObject"
        Resource = "${local.bucket_arn}/${local.key_prefix}tmp/results/*"
      },
      {
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.function.arn}:*"
      },
    ]
  })
}

# ---- what a frontend may do ----

# To be attached to the role or user that frontends run under.
resource "aws_iam_policy" "invoke" {
  name = "${var.name}-invoke"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "lambda:InvokeFunction"
      Resource = aws_lambda_alias.live.arn
    }]
  })
}
