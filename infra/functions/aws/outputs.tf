output "function_name" {
  description = "Name that frontends call, with the qualifier \"live\"."
  value       = aws_lambda_function.rubato.function_name
}

output "alias_arn" {
  value = aws_lambda_alias.live.arn
}

output "invoke_policy_arn" {
  description = "Policy for the role of the frontends."
  value       = aws_iam_policy.invoke.arn
}
