"""The safety critic's data, training, calibration and files; its inference runs in the tick (safety.risk_critic)."""
