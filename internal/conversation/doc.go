// Package conversation keeps what people and models say to each other in the
// portal, and follows a new conversation's first answer while it is given.
//
// Contents are encrypted in the database, for their owner alone. Nothing but the
// owner's own requests reads them.
//
// The second part, in live.go and read.go, is there for one reason, the
// first-reply trap: the frontend reads a new conversation again while its first
// answer streams, shows what it read in the place of what it had, and so loses
// what arrives around that reading. A chat call does not say which conversation
// it belongs to, either. So the gateway tells this package of every answer
// (gateway.Answers); the package finds the conversation by its user and its
// question, holds the stream up while the conversation is being read, gives the
// text so far with it, and stores the whole at the end.
package conversation
