// Package revocation knows which tokens are no longer good although they have not
// expired. A [Registry] answers from memory, so that asking on every call costs
// nothing, and keeps that memory in step with the other replicas: what one of
// them revokes is written to the database, pushed to the others through Redis,
// and found by those that the push did not reach when they next look at the
// database, half a second later at most.
//
// Every doubt is settled against the token: a revocation is never taken back,
// only outlived.
package revocation
