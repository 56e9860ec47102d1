"""The published efficiency numbers, judged."""

from reports.audit.audit import AuditVerdict, audit_table, judge_claim
from reports.audit.claims import published_claims
from reports.audit.readings import Claim
