"""The audit of the published efficiency numbers: each with a verdict that follows from the records."""

from reports.audit.audit import AuditVerdict, audit_tables, judge_claim
from reports.audit.claims import published_claims
from reports.audit.forests import claim_figures
from reports.audit.readings import Claim
