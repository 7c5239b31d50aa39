"""What changed between two bundles: `difference` compares manifests, `stability` the references, `verdicts` scores."""
