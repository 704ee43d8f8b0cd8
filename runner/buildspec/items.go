package buildspec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strings"

	"gopkg.in/yaml.v3"
)

// A textItem is an item of a list as the lines of the file show it, whatever YAML makes of them.
type textItem struct {
	line, column int    // of its text, from 1
	text         string // what stands behind its dash
	more         string // what the lines below that belong to it say, joined
}

var (
	itemLine    = regexp.MustCompile(`^(\s*)-(\s+)(\S.*)$`)
	blockText   = regexp.MustCompile(`^[|>][-+0-9]*\s*(#.*)?$`)
	mapOfBlock  = regexp.MustCompile(`^\s*(- +)*[^\s'"#][^:]*: +([&!]\S+ +)*[|>][-+0-9]*\s*(#.*)?$`)
	wordOfMap   = regexp.MustCompile(`^[\w.-]+:(\s|$)`)
	colonOfMap  = regexp.MustCompile(`:(\s|$)`)
	signsOfYAML = "{[\"'@`%*&!|>"
)

// itemAt is the item that begins at a line, counted from 0, or nil.
func itemAt(lines []string, at int) *textItem {
	m := itemLine.FindStringSubmatch(strings.TrimRight(lines[at], " \t\r"))
	if m == nil {
		return nil
	}
	item := &textItem{line: at + 1, column: len(m[1]) + len(m[2]) + 2, text: m[3]}
	var more strings.Builder
	for _, l := range lines[at+1 : itemEnd(lines, at)] {
		if text := strings.TrimSpace(l); !strings.HasPrefix(text, "#") {
			more.WriteString(text)
		}
	}
	item.more = more.String()
	return item
}

// itemEnd is the index of the first line below one that is not indented deeper.
func itemEnd(lines []string, at int) int {
	indent := len(lines[at]) - len(strings.TrimLeft(lines[at], " "))
	end := at + 1
	for ; end < len(lines); end++ {
		text := strings.TrimLeft(lines[end], " ")
		if strings.TrimSpace(text) != "" && len(lines[end])-len(text) <= indent {
			break
		}
	}
	return end
}

// hint says how to write an item that YAML does not read as the text that it was meant to be, or nothing if the item does
// not look like it.
func (i *textItem) hint() string {
	why := ""
	switch sign := i.text[0]; {
	case blockText.MatchString(i.text):
		return ""
	case (sign == '"' || sign == '\'') && !strings.Contains(i.text[1:]+i.more, string(sign)):
		return fmt.Sprintf("; the quote %c at the beginning of the text is not closed", sign)
	case strings.IndexByte(signsOfYAML, sign) >= 0:
		why = fmt.Sprintf("; YAML takes the %c at the beginning of a text for itself", sign)
	case wordOfMap.MatchString(i.text) && isKey(i.text[:strings.IndexByte(i.text, ':')]):
		return "" // meant to be a map, such as a task
	case colonOfMap.MatchString(i.text):
		why = "; a colon and a blank make a map of it"
	case i.more != "":
		return "; begin the item with `- |` and put the command below, indented"
	default:
		return ""
	}
	if i.more != "" {
		return why + "; begin the item with `- |` and put the command below, indented"
	}
	return why + ", write: - " + quote(i.text)
}

// culprit is the first item up to a line that YAML cannot read, though it stands alone, if a hint can be given for it.
func culprit(lines []string, until int) *textItem {
	budget := 4 * MaxSize // bytes that are parsed
	readable := func(from, to int) bool {
		text := strings.Join(lines[from:to], "\n")
		budget -= len(text)
		err := yamlError([]byte(text))
		return err == nil || strings.Contains(err.Error(), "unknown anchor")
	}
	for i := 0; i < until && budget > 0; {
		line := strings.TrimRight(lines[i], " \t\r")
		if mapOfBlock.MatchString(line) {
			i = itemEnd(lines, i)
			continue
		}
		item := itemAt(lines, i)
		if item == nil {
			i++
			continue
		}
		end := itemEnd(lines, i)
		switch {
		case readable(i, end), blockText.MatchString(item.text):
			i = end
			continue
		case !readable(i, i+1):
			if item.hint() != "" {
				return item
			}
			return nil
		case wordOfMap.MatchString(item.text) || strings.HasPrefix(item.text, "- "):
			i++ // a map or a list, whose items come next
			continue
		}
		for _, l := range lines[i+1 : end] { // the command goes on there
			if text := strings.TrimSpace(l); !strings.HasPrefix(text, "#") && !strings.HasPrefix(text, "- ") && colonOfMap.MatchString(text) || colonOfMap.MatchString(item.text) {
				if !colonOfMap.MatchString(item.text) {
					item.text += " " + text
				}
				return item
			}
		}
		i++
	}
	return nil
}

// yamlError is the error of reading a text, of one or two documents.
func yamlError(text []byte) error {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for range 2 {
		var doc yaml.Node
		if err := decoder.Decode(&doc); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
	return nil
}

// detected is the line at which the YAML library gave up with an error of the line that it names: the last of the fewest
// lines that have the same error.
func detected(lines []string, named int, err error) int {
	n := sort.Search(len(lines)-named, func(n int) bool {
		got := yamlError([]byte(strings.Join(lines[:named+n], "\n") + "\n"))
		return got != nil && got.Error() == err.Error()
	})
	return named + n
}
