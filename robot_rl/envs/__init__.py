"""Gymnasium environments over the motor link, and what surrounds them: resets, featurisers, checker."""
