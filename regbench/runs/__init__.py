"""From a request to a result: request, plan, context, execution; and finished runs opened again."""
