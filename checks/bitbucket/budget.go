package bitbucket

// LooksPerHour implements webhook.Looker. Cloud takes a thousand requests in an hour of one account, and a look is two of them or a few
// more; a Data Center limits what it likes to by itself.
// https://support.atlassian.com/bitbucket-cloud/docs/api-request-limits/
func (h *Host) LooksPerHour() int {
	if h.DataCenter {
		return 0
	}
	return 150
}
