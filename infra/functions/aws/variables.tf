variable "bucket" {
  description = "Bucket of the blocks (storage.trace.s3.bucket)."
  type        = string
}

variable "prefix" {
  description = "Stands before all keys in the bucket (storage.trace.s3.prefix)."
  type        = string
  default     = ""
}

variable "endpoint" {
  description = "host:port of the store; null is S3 of the region."
  type        = string
  default     = null
}

variable "zip" {
  description = "Zip with bootstrap at its root, for the architecture below."
  type        = string
  default     = "../../../build/function/rubato-function.zip"
}

variable "name" {
  description = "Name of the function."
  type        = string
  default     = "rubato"
}

variable "architecture" {
  description = "arm64 is a fifth cheaper; it has to be what the zip was built for."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "The architecture is arm64 or x86_64."
  }
}

variable "memory_mb" {
  description = "Memory; 1769 is one whole processor."
  type        = number
  default     = 1769

  validation {
    condition     = var.memory_mb >= 128 && var.memory_mb <= 10240
    error_message = "Lambda takes 128 to 10240 MB."
  }
}

variable "timeout_s" {
  description = "Longest run of one invocation: a query is given up after 60 s."
  type        = number
  default     = 60

  validation {
    condition     = var.timeout_s >= 1 && var.timeout_s <= 900
    error_message = "Lambda takes 1 to 900 s."
  }
}

variable "concurrency" {
  description = "Functions at once at most, taken out of the account's (1000 a region by default)."
  type        = number
  default     = 200
}
