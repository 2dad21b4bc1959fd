// Package tap prints results in the Test Anything Protocol (https://testanything.org/tap-version-13-specification.html).
//
// The conformance suite imports github.com/mndrix/tap-go, which Debian does not package. This has the methods that the
// suite calls and no others.
package tap

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// T is one stream of results.
type T struct {
	Writer io.Writer
	count  int
}

// New returns a stream to standard output.
func New() *T {
	return &T{}
}

func (t *T) print(format string, args ...interface{}) {
	out := t.Writer
	if out == nil {
		out = os.Stdout
	}
	fmt.Fprintf(out, format+"\n", args...)
}

// Header begins the stream; with no tests known yet, AutoPlan ends it.
func (t *T) Header(tests int) {
	t.print("TAP version 13")
	if tests > 0 {
		t.print("1..%d", tests)
	}
}

// AutoPlan says how many results there were.
func (t *T) AutoPlan() {
	t.print("1..%d", t.count)
}

// Ok prints one result.
func (t *T) Ok(passed bool, description string) {
	t.count++
	word := "ok"
	if !passed {
		word = "not ok"
	}
	t.print("%s %d - %s", word, t.count, strings.ReplaceAll(description, "\n", " "))
}

// Pass prints a good result.
func (t *T) Pass(description string) {
	t.Ok(true, description)
}

// Fail prints a bad one.
func (t *T) Fail(description string) {
	t.Ok(false, description)
}

// Skip prints results that were not looked for.
func (t *T) Skip(count int, description string) {
	for i := 0; i < count; i++ {
		t.count++
		t.print("ok %d # SKIP %s", t.count, strings.ReplaceAll(description, "\n", " "))
	}
}

// Diagnostic prints a comment.
func (t *T) Diagnostic(message string) {
	t.print("# %s", strings.ReplaceAll(message, "\n", "\n# "))
}

// Diagnosticf prints a comment.
func (t *T) Diagnosticf(format string, args ...interface{}) {
	t.Diagnostic(fmt.Sprintf(format, args...))
}

// YAML prints details of the result before. JSON is YAML.
func (t *T) YAML(details interface{}) error {
	text, err := json.MarshalIndent(details, "  ", "  ")
	if err != nil {
		return err
	}
	t.print("  ---\n  %s\n  ...", text)
	return nil
}

// Todo is a stream of results that are known to be missing.
type Todo struct {
	t *T
}

// Todo marks the result that follows as one that is not expected to be good.
func (t *T) Todo() Todo {
	return Todo{t}
}

// Fail prints such a result.
func (todo Todo) Fail(description string) {
	todo.t.count++
	todo.t.print("not ok %d # TODO %s", todo.t.count, description)
}
