"""The one writer of schema traits: verdicts are demanded, then ledger, values and snapshot move together."""
