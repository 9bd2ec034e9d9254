"""Measure a served model under load: shapes of load, samples of the engines, figures and reports."""
