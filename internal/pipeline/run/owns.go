package run

import "strings"

// Owns tells whether a run is under way on this replica.
func (s *Service) Owns(id string) bool { return s.find(strings.ToLower(id)) != nil }
