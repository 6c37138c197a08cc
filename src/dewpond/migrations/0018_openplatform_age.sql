-- Deliveries of all merchants, the newest first, and one by its id: ids begin with their fact's, so they sort by age and
-- each new one is written beside the last. There is no index by status on purpose: a delivery that ends would have to be
-- written anew into every index.
create index deliveries_age on openplatform.deliveries (id);
