"""Reverse sync: plan what differs from what was acknowledged, deliver it, and remember each acknowledgement."""
