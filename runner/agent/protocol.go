// Package agent runs the phases of a build inside its container, and tells the story as events.
//
// It is both ends of one protocol. Inside, Main is the container's first process: it waits for a Job, runs its commands,
// packs its artifacts and writes events. Outside, Prepare makes the exchange directory that both ends share, Hand gives
// the job over, and a Story reads the events.
//
// # The exchange directory
//
//	events         one JSON object a line, appended by the agent; made by the server, which remembers the inode
//	job            a FIFO: the job goes through it and is never a file
//	artifacts.tar  archives, uncompressed, one after another: the files of the artifacts block, those of each secondary
//	               artifact, and the files that reports are made from; made by the server, filled by the agent
//	cache.tar.zst  what the cache block keeps, if there is something to keep; made by the agent
//
// A line of events is at most MaxLine bytes long and has a number that rises by one from 0. The first line names the
// version of the format. A server reads the events of the release before it; testdata holds a recorded stream.
//
// # The story is untrusted
//
// The root user of a container can write events as well as the agent can. That gains nothing but a lie about its own
// build. What must not be forged (the time limit, the memory limit, the exit of the container, who may see what) is
// decided outside. A Story refuses whatever an agent would not have written.
//
// # Commands
//
// Each command is a shell process of its own, as in CodeBuild: it begins in the directory that the command before left,
// with the exported variables that it left, and its text begins on line 4 of its script. The wrapper uses nothing but
// what is built into the shell, so that a build may break its PATH.
//
// # Secrets
//
// The job names the values that nobody is to see. The agent replaces them in everything that leaves the container through
// it: output, messages, names, exported variables, and the text of reports. Artifacts and caches are the author's own bytes
// and leave as they are.
package agent

import (
	"encoding/json"
	"time"
	"unicode/utf8"
)

// Version is the version of the format that this agent writes. A Story reads it and the one before.
const Version = 1

// MaxLine is the most bytes a line of events may have, its end included.
const MaxLine = 64 << 10

// Paths inside a sandbox.
const (
	ExchangeDir = "/buildsmith/exchange"
	ProgramPath = "/buildsmith/agent"
	ObjectsDir  = "/buildsmith/objects"    // the mirror's objects, which the work tree's .git refers to
	CacheDir    = "/buildsmith/cache"      // what earlier builds kept, in the directories below; missing or empty if there is nothing
	StateDir    = "/codebuild/output/tmp"  // scripts, saved variables and directory
	SourceDir   = "/codebuild/output/src1" // the checkout lies in src/<host>/<owner>/<repo> below it
)

// Directories below CacheDir.
const (
	DefaultCache = "default" // what builds of the default branch saved
	OwnCache     = "own"     // what builds of the same branch or tag saved, if that is another one
)

// Statuses of phases and builds, in CodeBuild's words.
const (
	Succeeded = "SUCCEEDED"
	Failed    = "FAILED"
	TimedOut  = "TIMED_OUT"
	Stopped   = "STOPPED"
)

// A Job is what an agent is told to do.
type Job struct {
	Build      string      // the build's id
	Dir        string      // where commands begin: CODEBUILD_SRC_DIR
	Shell      string      // empty, sh, bash or a path
	Env        []string    // NAME=value; added to the image's variables
	Secrets    []string    // values that are masked wherever they would be seen
	Fresh      bool        // version 0.1: every command begins in Dir with Env
	Phases     []Phase     // in the order in which they run
	Uploads    []Artifacts // the primary artifacts first
	Reports    []Reports
	Exported   []string // names of variables to tell at the end
	Cache      *Cache
	Credential *Credential // for git; nil if the build's git has none
	Deadline   time.Time   // when the build has timed out
	LogLimit   int64       // bytes of output to keep; the rest is counted and dropped; 0 for no limit
}

// A Phase is one of a job's phases.
type Phase struct {
	Name      string // INSTALL, PRE_BUILD, BUILD or POST_BUILD
	RunAs     string // a user of the image; empty for root
	OnFailure string // empty, ABORT, CONTINUE or RETRY
	Retry     string // of RETRY: a regular expression that the message must match, or the output's end; empty for any
	Commands  []string
	Finally   []string
}

// Artifacts says what to pack into an archive of artifacts.tar.
type Artifacts struct {
	ID             string // of a secondary artifact, else empty
	Files          []string
	Exclude        []string
	Name           string // expanded by the shell
	Prefix         string // expanded by the shell
	BaseDirectory  string // expanded by the shell; may be a pattern
	DiscardPaths   bool
	EnableSymlinks bool
	Unknown        bool  // the project has no secondary artifact of this ID: the phase fails where it would be packed
	Limit          int64 // bytes of content
}

// Reports says which files a report group is made from.
type Reports struct {
	Group         string // expanded by the shell
	Format        string
	Files         []string
	BaseDirectory string // expanded by the shell; may be a pattern
}

// A Cache says what is kept from build to build.
type Cache struct {
	Paths    []string
	Key      string // expanded by the shell; empty for the one cache that each build replaces
	Fallback []string
	Restore  bool
	Save     bool
	Limit    int64 // bytes of what is kept, before it is packed
}

// A Credential lets git in the container read one repository for a while.
type Credential struct {
	URL      string // of the repository, as git knows it
	Username string
	Password string
	Expires  time.Time
}

// Kinds of events, with the fields each has.
const (
	Hello    = "hello"     // Version
	GotJob   = "job"       // the job has arrived
	Output   = "out"       // Text or Bytes
	Enter    = "phase"     // Phase
	Command  = "command"   // Phase, Index, Finally, Message (the text)
	Exit     = "exit"      // Phase, Index, Finally, Status (of the process), Message
	Leave    = "end"       // Phase, Result, Code, Message
	Packed   = "artifacts" // ID, Message (the name), Detail (the prefix), Files, Size, Offset, Length
	Report   = "report"    // Index, Message (the group), Code (the format), Detail (why there are no files), Files
	Export   = "export"    // ID (the name), Message (the value)
	Caching  = "cache"     // Message (the key), Detail (the version of the paths), Files, Size: a cache to keep
	Restored = "restored"  // ID, Detail (the scope): a cache that was brought back
	Broken   = "broken"    // ID, Detail (the scope): a cache that cannot be read
	Done     = "done"      // Result, Again
	Fault    = "fault"     // Message: the agent itself failed
)

// An Event is one line of events.
type Event struct {
	N       int64  `json:"n"`
	Time    int64  `json:"t"` // Unix milliseconds
	Kind    string `json:"k"`
	Version int    `json:"v,omitempty"`
	Text    string `json:"o,omitempty"` // output that is UTF-8
	Bytes   []byte `json:"b,omitempty"` // output that is not
	Phase   string `json:"p,omitempty"`
	Index   int    `json:"i,omitempty"`
	Finally bool   `json:"f,omitempty"`
	Status  int    `json:"x,omitempty"`
	Result  string `json:"s,omitempty"`
	Code    string `json:"c,omitempty"`
	Message string `json:"m,omitempty"`
	Files   int    `json:"files,omitempty"`
	Size    int64  `json:"size,omitempty"`
	ID      string `json:"id,omitempty"`
	Detail  string `json:"d,omitempty"`
	Offset  int64  `json:"off,omitempty"` // of an archive in artifacts.tar
	Length  int64  `json:"len,omitempty"` // of an archive; 0 for all there is
	Again   bool   `json:"again,omitempty"`
}

// maxTime is the last millisecond of the year 9999, the last that JSON can tell.
const maxTime = 253402300799999

// At is the event's time.
func (e Event) At() time.Time { return time.UnixMilli(e.Time) }

// maxText is how many bytes of output one event carries: each can become six in JSON.
const maxText = 10 << 10

// maxMessage is how many bytes of a command or message an event carries.
const maxMessage = 4 << 10

// appendEvent appends the line of an event that is no output.
func appendEvent(line []byte, e Event) []byte {
	e.Message, e.Detail = clip(e.Message, maxMessage), clip(e.Detail, maxMessage)
	text, err := json.Marshal(e)
	if err != nil {
		panic(err) // an Event has nothing that cannot be encoded
	}
	return append(append(line, text...), '\n')
}

// clip shortens text to at most n bytes, at a character's border, and marks that it did.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}
