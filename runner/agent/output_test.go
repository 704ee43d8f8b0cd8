package agent

import (
	"encoding/json"
	"reflect"
	"testing"
)

// FuzzDecodeOutput compares with encoding/json: what decodeOutput takes means the same there, and it takes what appendOutput
// writes.
func FuzzDecodeOutput(f *testing.F) {
	for _, text := range []string{"", "plain\n", "\x1b[31mred\x1b[0m\t\"quoted\" \\ back\r\n", "é \u2028 \U0001f600", "\x00\x7f", "\xff"} {
		line := appendOutput(nil, 12, 1_700_000_000_000, []byte(text))
		f.Add(line[:len(line)-1], []byte(text))
	}
	for _, line := range []string{`{"n":01,"t":1,"k":"out","o":""}`, `{"n":1,"t":1,"k":"out","o":"\u00ff"}`, `{"n":1,"t":1,"k":"out","o":"\u00+1"}`,
		`{"n":1,"t":1,"k":"out","o":"a","o":"b"}`, `{"n":1,"t":1,"k":"out","o":"\"}`, `{"n":-1,"t":1,"k":"out","o":""}`, `{"n":1,"t":1,"k":"out","o":"\x"}`} {
		f.Add([]byte(line), []byte(nil))
	}
	f.Fuzz(func(t *testing.T, line, text []byte) {
		if got, ok := decodeOutput(line); ok {
			var want Event
			if err := json.Unmarshal(line, &want); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%q is %+v, encoding/json says %+v, %v", line, got, want, err)
			}
		}
		own := appendOutput(nil, 7, 8, text)
		own = own[:len(own)-1]
		var want Event
		if err := json.Unmarshal(own, &want); err != nil {
			t.Fatalf("%q: %v", own, err)
		}
		if got, ok := decodeOutput(own); ok != (want.Bytes == nil) || ok && (!reflect.DeepEqual(got, want) || got.Text != string(text)) {
			t.Errorf("%q is %+v, %v", own, got, ok)
		}
	})
}
