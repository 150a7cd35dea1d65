// Command bench measures what the gateway costs, beside plain Caddy.
//
// Both sides are the same binary: Tollgate with everything on (JWT, a rate-limit zone in Redis, the rewrite of a specialist's
// request, a usage row in PostgreSQL, metrics) and Caddy's own reverse_proxy with nothing on. Both stand before the same mock
// provider. The gateways share one core; this process (mock and load), Redis and PostgreSQL share another. Rounds are
// interleaved, and the medians are compared.
//
// CPU time is the gateway process's own, from the kernel's per-process clock in nanoseconds, and it is read only after every
// usage row of the round has reached the database: a run whose rows do not equal its calls is void. So the figure holds what
// a call costs in the end, not what it costs until its answer is out.
package main
