-- Whose a payment is before it is paid: a merchant that named its payer asked nobody else. Null, as nearly always: whoever
-- scans the code.
alter table pay.payments add column meant_for uuid;
