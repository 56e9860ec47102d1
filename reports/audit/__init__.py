"""The audit of the published efficiency numbers: each with a verdict that follows from the records."""

from reports.audit.audit import AuditVerdict, audit_table, judge_claim
from reports.audit.claims import published_claims
from reports.audit.readings import Claim
