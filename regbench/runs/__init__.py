"""From a request to a result: plan, context, execution, finished runs."""
