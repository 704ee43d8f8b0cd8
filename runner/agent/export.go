package agent

// export tells the values that the exported variables have now. One that is not set is left out.
func (b *build) export() error {
	if len(b.job.Exported) == 0 || b.shell.program == "" {
		return nil
	}
	cred, err := b.lastUser()
	if err != nil {
		return err
	}
	values, err := b.shell.values(b.job.Exported, cred)
	if err != nil {
		return err
	}
	if b.isCut() {
		return errCut
	}
	for _, name := range b.job.Exported {
		value, set := values[name]
		switch {
		case !set:
			b.log.Logf("Exported variable %s is not set", name)
		case len(b.log.mask.text(value)) > maxMessage:
			b.log.Logf("Exported variable %s is passed over: its value has more than %d bytes", name, maxMessage)
		default:
			b.log.event(Event{Kind: Export, ID: name, Message: value})
		}
	}
	return nil
}
