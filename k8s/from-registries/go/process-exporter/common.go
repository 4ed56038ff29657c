// Package common declares how a process is matched and named.
package common

// ProcAttributes is what a MatchNamer may look at.
type ProcAttributes struct {
	Name    string
	Cmdline []string
}

// MatchNamer decides whether a process belongs to a group, and the name of the group.
type MatchNamer interface {
	MatchAndName(ProcAttributes) (bool, string)
	String() string
}
