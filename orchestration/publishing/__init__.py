"""Write-audit-publish: what has a passing verdict moves together into ledger, values and snapshot."""
